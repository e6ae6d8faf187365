/* See detector.h. */
#include "detector.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Values beyond it are taken for it, so that squares stay finite. */
#define MAGNITUDE_MAX 1e150
/* Characters of a number in the settings. */
#define NUMBER_CHARACTERS_MAX 63

static double greatest(double a, double b) { return a > b ? a : b; }
static double least(double a, double b) { return a < b ? a : b; }
static double bounded(double value) { return least(greatest(value, -MAGNITUDE_MAX), MAGNITUDE_MAX); }

struct said series_fold(struct series *series, double value, const struct settings *settings) {
    double diff = bounded(value) - series->mean;
    double floor = greatest(settings->sigma_min, settings->sigma_min_ratio * fabs(series->mean));
    double sigma = greatest(sqrt(series->variance), floor);
    double reach = settings->trigger * sigma;
    struct said said = {
        .score = series->rows == 0 || diff == 0.0 ? 0.0 : least(fabs(diff) / sigma, SCORE_MAX),
        .low = bounded(series->mean - reach),
        .high = bounded(series->mean + reach),
    };

    double weight = greatest(settings->alpha, 1.0 / ((double)series->rows + 1.0));
    double step = weight * diff;
    series->mean += step;
    series->variance = (1.0 - weight) * (series->variance + diff * step);

    bool warm = series->rows >= settings->warm_up_rows;
    if (series->rows < UINT32_MAX) series->rows += 1;
    if (series->refractory > 0) {
        series->refractory -= 1;
        said.score = least(said.score, settings->trigger / 2.0);
    } else if (warm && said.score >= settings->trigger) {
        series->refractory = settings->refractory_rows;
    }
    return said;
}

/* A flat object of numbers is all the JSON there is. */
struct cursor {
    const char *at;
    const char *end;
};

static void skip_space(struct cursor *in) {
    while (in->at < in->end && strchr(" \t\r\n", *in->at)) in->at++;
}

/* Whether the next character that is no space is this one, which is then passed. */
static bool take(struct cursor *in, char wanted) {
    skip_space(in);
    if (in->at == in->end || *in->at != wanted) return false;
    in->at++;
    return true;
}

/* A name in quotes, without escapes. */
static bool take_name(struct cursor *in, const char **name, size_t *length) {
    if (!take(in, '"')) return false;
    *name = in->at;
    while (in->at < in->end && *in->at != '"' && *in->at != '\\') in->at++;
    *length = (size_t)(in->at - *name);
    return in->at < in->end && *in->at++ == '"';
}

static bool take_number(struct cursor *in, double *number) {
    char text[NUMBER_CHARACTERS_MAX + 1];
    size_t length = 0;
    skip_space(in);
    while (in->at < in->end && *in->at && strchr("+-.0123456789eE", *in->at)) {
        if (length == NUMBER_CHARACTERS_MAX) return false;
        text[length++] = *in->at++;
    }
    text[length] = 0;
    char *end;
    *number = strtod(text, &end);
    return length > 0 && end == text + length;
}

static const char *set(struct settings *settings, const char *name, size_t length, double number) {
    const struct { const char *name; double *place; uint32_t *rows; } fields[] = {
        {"alpha", &settings->alpha, NULL},
        {"warm-up-rows", NULL, &settings->warm_up_rows},
        {"trigger", &settings->trigger, NULL},
        {"refractory-rows", NULL, &settings->refractory_rows},
        {"sigma-min", &settings->sigma_min, NULL},
        {"sigma-min-ratio", &settings->sigma_min_ratio, NULL},
    };
    for (size_t n = 0; n < sizeof fields / sizeof fields[0]; n++) {
        if (strlen(fields[n].name) != length || memcmp(fields[n].name, name, length) != 0) continue;
        if (fields[n].place) {
            *fields[n].place = number;
            return NULL;
        }
        if (!(number >= 0.0 && number <= UINT32_MAX) || number != (double)(uint32_t)number) {
            return "warm-up-rows and refractory-rows must be whole numbers from 0 to 4294967295";
        }
        *fields[n].rows = (uint32_t)number;
        return NULL;
    }
    return "unknown setting";
}

static bool fit(double number) { return number >= 0.0 && number < INFINITY; }

const char *settings_read(struct settings *settings, const char *text, size_t length) {
    static const char *const broken = "settings must be a JSON object of numbers";
    *settings = (struct settings){0.01, 100, 5.0, 100, 0.0, 0.001};
    struct cursor in = {text, text + length};
    skip_space(&in);
    if (in.at == in.end) return NULL;
    if (!take(&in, '{')) return broken;
    for (bool first = true; !take(&in, '}'); first = false) {
        const char *name;
        size_t name_length;
        double number;
        if (!first && !take(&in, ',')) return broken;
        if (!take_name(&in, &name, &name_length) || !take(&in, ':')) return broken;
        if (!take_number(&in, &number)) return broken;
        const char *problem = set(settings, name, name_length, number);
        if (problem) return problem;
    }
    skip_space(&in);
    if (in.at != in.end) return broken;
    if (!(settings->alpha > 0.0 && settings->alpha <= 1.0)) return "alpha must be above 0 and at most 1";
    if (!fit(settings->trigger) || !fit(settings->sigma_min) || !fit(settings->sigma_min_ratio)) {
        return "trigger, sigma-min and sigma-min-ratio must be finite and not negative";
    }
    return NULL;
}
