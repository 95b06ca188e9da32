// regions: region made
// faults: 1
// modes: pie
// Shared owners, whose counts several threads change, and local statics that several threads initialise: counts are right
// and nothing is destroyed twice or kept, after thousands of faults.
#include <atomic>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>
#include <unistd.h>
constexpr int threads = 4, rounds = 1500;
static volatile int zero;
static std::atomic<int> alive, begun;
struct Thing {
    std::string name = "a name that is too long to be kept in place";
    Thing() { alive++; }
    ~Thing() { alive--; }
};
static std::shared_ptr<Thing> common;
extern "C" __attribute__((noipa)) int region(int round) {
    std::shared_ptr<Thing> copy = common;
    std::vector<std::shared_ptr<Thing>> more(round % 5, common);
    auto fresh = std::make_shared<Thing>();
    more.push_back(fresh);
    if (round % 3)
        return round / zero;
    return static_cast<int>(copy->name.size() + more.size());
}
struct Once {
    int value = 7;
    explicit Once(int bad) {
        begun++;
        if (bad)
            value /= zero;
    }
};
extern "C" __attribute__((noipa)) int made(int bad) {
    static Once once(bad);
    return once.value;
}
int main() {
    alarm(20);
    common = std::make_shared<Thing>();
    std::vector<std::thread> all;
    std::atomic<int> refused{0};
    for (int id = 0; id < threads; id++)
        all.emplace_back([&refused] {
            for (int round = 1; round <= rounds; round++)
                refused += ORACLE && round % 3 ? 1 : region(round) < 0;
        });
    for (auto &thread : all)
        thread.join();
    std::printf("refused %d, owners %ld, alive %d\n", refused.load(), common.use_count(), alive.load());
    std::thread([] {
        for (int i = 0; i < 20; i++)
            if (int result = ORACLE ? -1 : made(1); result != -1)
                std::printf("bad: %d\n", result);
        std::printf("made %d, begun %d\n", made(0), begun.load());
    }).join();
    return 0;
}
