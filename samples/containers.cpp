// Fills maps, vectors and strings before the fault: their nodes come and go by new and delete.
#include "sample.h"

#include <algorithm>
#include <map>
#include <memory>
#include <numeric>
#include <sstream>
#include <string>
#include <unordered_map>
#include <vector>

namespace {
std::map<std::string, std::vector<int>> *names;
std::unordered_map<int, std::shared_ptr<std::string>> *numbers;
}  // namespace

extern "C" void prepare() {
    names = new std::map<std::string, std::vector<int>>;
    numbers = new std::unordered_map<int, std::shared_ptr<std::string>>;
}

extern "C" int process(const char *record) {
    if (!*record)
        return REFUSED;
    note(record);
    std::vector<int> &list = (*names)[record];
    for (int i = 0; i < 100; i++)
        list.push_back((i * 37 + record[0]) % 101);
    std::sort(list.begin(), list.end());
    for (int i = 0; i < 50; i++)
        (*numbers)[list[static_cast<size_t>(i)] * 3] = std::make_shared<std::string>(record + std::to_string(i));
    std::ostringstream text;
    for (const auto &entry : *names)
        text << entry.first << ':' << entry.second.size() << ' ';
    if (names->size() > 2)
        names->erase(names->begin());
    const volatile int *word = static_cast<const volatile int *>(opaque(is_bad(record) ? nullptr : &state.last));
    int sum = *word & 1;
    for (const auto &entry : *names)
        sum = std::accumulate(entry.second.begin(), entry.second.end(), sum);
    return sum + static_cast<int>(text.str().size() + numbers->size());
}
