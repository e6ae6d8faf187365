/* How far a value lies from where its series has been: an exponentially weighted z-score with a refractory period.
 *
 * Finch, "Incremental calculation of weighted mean and variance" (2009), section 9:
 *
 *     diff = x - mean;  step = a * diff;  mean' = mean + step;  variance' = (1 - a) * (variance + diff * step)
 *
 * with a = max(alpha, 1 / (n + 1)). The score is |x - mean| / sigma before the update; expected are the values within
 * `trigger` such sigmas of the mean. After a score at or above `trigger` the next `refractory-rows` scores are held below
 * half of it, so one event alarms once.
 *
 * Lives here: arithmetic and settings. Does not live here: the contract with the host (model.c).
 * Only + - * / and sqrt are used, in this order: every machine, and the same model in another language, gives the same
 * bytes. */
#ifndef DETECTOR_H
#define DETECTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Greatest score; also the score of any change while sigma is 0. */
#define SCORE_MAX 1000.0

struct settings {
    double alpha;             /* weight of a new value, in (0, 1] */
    uint32_t warm_up_rows;    /* rows of a series before its scores mean something */
    double trigger;           /* score that starts the refractory period */
    uint32_t refractory_rows; /* rows after a trigger whose scores are held down */
    double sigma_min;         /* least sigma, in the unit of the values */
    double sigma_min_ratio;   /* least sigma as a share of the mean */
};

/* What the host keeps of a series: these bytes, little-endian as WebAssembly is. All zeros: never seen. */
struct series {
    uint32_t rows;
    uint32_t refractory;
    double mean;
    double variance;
};
_Static_assert(sizeof(struct series) == 24, "the stride of the state");

/* What is said of a value. */
struct said {
    double score; /* greater is stranger */
    double low;   /* least and greatest value that would have been expected */
    double high;
};

/* Reads settings, JSON of `length` bytes. Returns what is wrong with them, or NULL. */
const char *settings_read(struct settings *settings, const char *text, size_t length);

/* Scores a value, then learns it. */
struct said series_fold(struct series *series, double value, const struct settings *settings);

#endif
