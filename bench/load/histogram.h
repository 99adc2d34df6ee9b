// A histogram of times with a relative error under 2 %: 64 buckets for each power of two, in microseconds.
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_BUCKETS = 2048 };

struct histogram {
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t total;
    uint64_t largest;
};

static inline int histogram_bucket(uint64_t us)
{
    if (us < 64)
        return (int)us;
    int power = 63 - __builtin_clzll(us);
    int bucket = (power - 5) * 64 + (int)((us >> (power - 6)) & 63);
    return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

// The smallest time that falls into the bucket.
static inline uint64_t histogram_time(int bucket)
{
    if (bucket < 64)
        return (uint64_t)bucket;
    return (uint64_t)(64 + (bucket & 63)) << (bucket / 64 - 1);
}

static inline void histogram_add(struct histogram *h, uint64_t us)
{
    h->counts[histogram_bucket(us)]++;
    h->total++;
    if (us > h->largest)
        h->largest = us;
}

// The time, in milliseconds, that `share` of all times stay under; -1 without any.
static inline double histogram_quantile(const struct histogram *h, double share)
{
    uint64_t wanted = (uint64_t)((double)h->total * share), seen = 0;
    if (h->total == 0)
        return -1;
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->counts[i];
        if (seen > wanted)
            return (double)histogram_time(i) / 1000.0;
    }
    return (double)h->largest / 1000.0;
}

#endif
