// Calls a virtual function of no object.
#include "sample.h"

struct Rater {
    virtual ~Rater() = default;
    virtual int rate(const char *record) const { return static_cast<int>(strlen(record)); }
};

struct DoubleRater : Rater {
    int rate(const char *record) const override { return 2 * static_cast<int>(strlen(record)); }
};

static Rater *raters[2];

extern "C" void prepare() {
    raters[0] = new Rater;
    raters[1] = new DoubleRater;
}

extern "C" int process(const char *record) {
    if (!*record)
        return REFUSED;
    note(record);
    const Rater *chosen = static_cast<const Rater *>(opaque(is_bad(record) ? nullptr : raters[record[0] & 1]));
    return value_of(record) + chosen->rate(record);
}
