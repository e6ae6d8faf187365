/* A guest that asks WASI for things, for the host's tests: the settings say for what. Scores what it was told.
 *
 * Built by scoring/guests/build with the bindings, the compiler and the adapter of the C template; the component is
 * committed as scoring/host/tests/data/wasi.wasm. */
#define _GNU_SOURCE
#include "scorer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char mode[32];

static bool asked_for(const char *what) { return strcmp(mode, what) == 0; }

/* The greatest score is 1e15: more is out of the range that `describe` names. */
static double answer(double value) {
    if (asked_for("wall-clock") || asked_for("monotonic-clock")) {
        struct timespec now = {1, 1};
        if (clock_gettime(asked_for("wall-clock") ? CLOCK_REALTIME : CLOCK_MONOTONIC, &now) != 0) return errno;
        return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
    }
    if (asked_for("random")) {
        unsigned char bytes[6];
        if (getentropy(bytes, sizeof bytes) != 0) return -1;
        double number = 0;
        for (size_t n = 0; n < sizeof bytes; n++) number = number * 256 + bytes[n];
        return number;
    }
    if (asked_for("sleep")) return usleep(1000 * 1000) == 0 ? 7 : errno;
    if (asked_for("environment")) return getenv("HOME") || getenv("PATH") || getenv("USER") ? -1 : 0;
    if (asked_for("file")) return open("/etc/hostname", O_RDONLY) < 0 ? errno : -1;
    if (asked_for("write-file")) return open("/tmp/highwater", O_WRONLY | O_CREAT, 0600) < 0 ? errno : -1;
    if (asked_for("input")) return getchar() == EOF ? 0 : -1;
    if (asked_for("exit")) exit(3);
    if (asked_for("print")) {
        printf("to the output\n");
        fflush(stdout);
        fprintf(stderr, "first line\nlast words, before a trap");
        abort();
    }
    if (asked_for("print-and-go-on")) {
        fprintf(stderr, "value %.1f\n", value);
        return 0;
    }
    if (asked_for("flood")) {
        for (;;) fprintf(stderr, "a line that never ends, and another one, and another one\n");
    }
    if (asked_for("spin-on-the-clock")) {
        struct timespec now = {0, 0};
        while (now.tv_sec < 1) clock_gettime(CLOCK_MONOTONIC, &now);
    }
    return value;
}

static void fault(exports_highwater_scoring_model_fault_t *err, const char *text) {
    err->tag = EXPORTS_HIGHWATER_SCORING_MODEL_FAULT_INTERNAL;
    scorer_string_dup(&err->val.internal, text);
}

bool exports_highwater_scoring_model_configure(scorer_string_t *text, scorer_list_u8_t *artifact, uint64_t seed,
                                               exports_highwater_scoring_model_fault_t *err) {
    (void)seed, (void)artifact;
    if (text->len >= sizeof mode) {
        fault(err, "no mode");
        return false;
    }
    memcpy(mode, text->ptr, text->len);
    scorer_string_free(text);
    return true;
}

void exports_highwater_scoring_model_describe(exports_highwater_scoring_model_descriptor_t *ret) {
    exports_highwater_scoring_model_feature_t *feature = calloc(1, sizeof *feature);
    scorer_string_dup(&feature->name, "value");
    exports_highwater_scoring_model_output_t *output = calloc(1, sizeof *output);
    scorer_string_dup(&output->name, "answer");
    output->role = EXPORTS_HIGHWATER_SCORING_MODEL_ROLE_SCORE;
    output->min.is_some = output->max.is_some = true;
    output->max.val = 1e15;
    memset(ret, 0, sizeof *ret);
    scorer_string_dup(&ret->name, "wasi");
    scorer_string_dup(&ret->version, "0.1.0");
    ret->features.ptr = feature;
    ret->outputs.ptr = output;
    ret->features.len = ret->outputs.len = 1;
    scorer_string_dup(&ret->state.schema, "none");
    ret->traits = EXPORTS_HIGHWATER_SCORING_MODEL_TRAITS_BATCH_INVARIANT |
                  EXPORTS_HIGHWATER_SCORING_MODEL_TRAITS_DETERMINISTIC;
}

bool exports_highwater_scoring_model_score(exports_highwater_scoring_model_batch_t *rows, scorer_list_u8_t *state,
                                           exports_highwater_scoring_model_scored_t *ret,
                                           exports_highwater_scoring_model_fault_t *err) {
    (void)err;
    for (size_t row = 0; row < rows->rows; row++) rows->values.ptr[row] = answer(rows->values.ptr[row]);
    ret->values = rows->values;
    ret->row_flags.ptr = NULL;
    ret->row_flags.len = 0;
    ret->state = *state;
    scorer_list_u32_free(&rows->slot);
    scorer_list_s64_free(&rows->event_time);
    scorer_list_u8_free(&rows->missing);
    return true;
}

bool exports_highwater_scoring_model_upgrade_state(exports_highwater_scoring_model_state_id_t *source, uint32_t slots,
                                                   scorer_list_u8_t *state, scorer_list_u8_t *ret,
                                                   exports_highwater_scoring_model_fault_t *err) {
    (void)source, (void)slots, (void)state, (void)ret;
    fault(err, "has no state");
    return false;
}
