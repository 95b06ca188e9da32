// Exceptions through many frames, destructors, rethrowing, foreign threads, nested try, dynamic_cast, iostreams, containers.
#include <algorithm>
#include <atomic>
#include <future>
#include <iostream>
#include <map>
#include <memory>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <vector>
static std::atomic<long> destroyed;
struct Guard { int n; ~Guard() { destroyed += n; } };
struct Base { virtual ~Base() = default; virtual int value() const = 0; };
struct Left : virtual Base { int value() const override { return 1; } };
struct Right : virtual Base { };
struct Both : Left, Right { int value() const override { return 2; } };
[[gnu::noinline]] static int thrower(int depth, int kind) {
    Guard guard{depth};
    if (depth) return thrower(depth - 1, kind) + 1;
    switch (kind % 5) {
    case 0: throw std::runtime_error("runtime " + std::to_string(kind));
    case 1: throw kind;
    case 2: throw std::make_unique<int>(kind);
    case 3: return std::vector<int>(3).at(7);
    default: return *std::unique_ptr<int>(new int(kind));
    }
}
static void handler(int kind) {
    try {
        try { destroyed += thrower(kind % 37, kind); }
        catch (const std::exception &e) { destroyed += e.what()[0]; throw; }
    } catch (const std::out_of_range &) { destroyed += 3; }
    catch (const std::runtime_error &e) { std::throw_with_nested(std::logic_error(e.what())); }
    catch (int n) { destroyed += n % 7; }
    catch (...) { destroyed += 11; }
}
int main() {
    long nested = 0;
    for (int i = 0; i < 20000; i++)
        try { handler(i); }
        catch (const std::logic_error &outer) {
            try { std::rethrow_if_nested(outer); } catch (const std::runtime_error &inner) { nested += std::string(inner.what()).size(); }
        }
    std::cout << destroyed << ' ' << nested << '\n';
    std::vector<std::future<int>> work;
    for (int t = 0; t < 4; t++)
        work.push_back(std::async(std::launch::async, [t] {
            int caught = 0;
            for (int i = 0; i < 2000; i++) try { thrower(t * 5, i % 4); } catch (...) { caught++; }
            if (t == 3) throw std::domain_error("from a thread");
            return caught;
        }));
    for (auto &one : work) try { std::cout << one.get() << '\n'; } catch (const std::domain_error &e) { std::cout << e.what() << '\n'; }
    std::unique_ptr<Base> object = std::make_unique<Both>();
    std::cout << object->value() << (dynamic_cast<Right *>(object.get()) != nullptr) << '\n';
    std::map<std::string, int> words; std::istringstream in("to be or not to be that is the question"); std::string word;
    while (in >> word) words[word]++;
    for (auto &[name, n] : words) std::cout << name << n << ' ';
    try { std::regex broken("(["); } catch (const std::regex_error &e) { std::cout << "regex " << e.code() << '\n'; }
    std::cout << std::regex_replace("a-b-c", std::regex("-(.)"), "<$1>") << '\n';
    try { throw Guard{1000}; } catch (Guard &) { }
    std::cout << destroyed << std::endl;
}
