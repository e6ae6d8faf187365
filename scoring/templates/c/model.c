/* The contract with the host: what the model says of itself, and batches of rows through the detector.
 *
 * The host keeps the state of every series as bytes and passes it in and out: nothing that a row taught may stay in a
 * variable of this file. A model gets no clock, no random numbers, no file and no network.
 *
 * What comes from the host belongs to this side and is freed, or given back; what is returned must be from malloc. */
#include "detector.h"
#include "scorer.h"

#include <stdlib.h>
#include <string.h>

#define WARM_UP 1
/* sigmas, low, high */
#define OUTPUTS 3

static struct settings settings;

/* Zeros, to be returned to the host; NULL for nothing, as the bindings free no empty list. */
static void *zeros(size_t count, size_t size) {
    if (count == 0) return NULL;
    void *place = calloc(count, size);
    if (!place) abort();
    return place;
}

static bool fail(exports_highwater_scoring_model_fault_t *fault, uint8_t kind, const char *text) {
    fault->tag = kind;
    /* All four kinds hold a string, in the same place. */
    scorer_string_dup(&fault->val.internal, text);
    return false;
}

bool exports_highwater_scoring_model_configure(scorer_string_t *text, scorer_list_u8_t *maybe_artifact, uint64_t seed,
                                               exports_highwater_scoring_model_fault_t *err) {
    (void)seed;
    const char *problem = maybe_artifact ? "takes no artifact" : settings_read(&settings, (char *)text->ptr, text->len);
    scorer_string_free(text);
    if (maybe_artifact) scorer_list_u8_free(maybe_artifact);
    return problem ? fail(err, EXPORTS_HIGHWATER_SCORING_MODEL_FAULT_BAD_CONFIG, problem) : true;
}

void exports_highwater_scoring_model_describe(exports_highwater_scoring_model_descriptor_t *ret) {
    exports_highwater_scoring_model_feature_t *feature = zeros(1, sizeof *feature);
    scorer_string_dup(&feature->name, "value");
    feature->missing = EXPORTS_HIGHWATER_SCORING_MODEL_MISSING_RULE_SKIP_ROW;

    exports_highwater_scoring_model_output_t *outputs = zeros(OUTPUTS, sizeof *outputs);
    scorer_string_dup(&outputs[0].name, "sigmas");
    outputs[0].role = EXPORTS_HIGHWATER_SCORING_MODEL_ROLE_SCORE;
    outputs[0].min.is_some = outputs[0].max.is_some = true;
    outputs[0].max.val = SCORE_MAX;
    scorer_string_dup(&outputs[1].name, "low");
    outputs[1].role = EXPORTS_HIGHWATER_SCORING_MODEL_ROLE_LOWER_BOUND;
    scorer_string_dup(&outputs[2].name, "high");
    outputs[2].role = EXPORTS_HIGHWATER_SCORING_MODEL_ROLE_UPPER_BOUND;

    memset(ret, 0, sizeof *ret);
    scorer_string_dup(&ret->name, "my-model");
    scorer_string_dup(&ret->version, "0.1.0");
    ret->features.ptr = feature;
    ret->features.len = 1;
    ret->outputs.ptr = outputs;
    ret->outputs.len = OUTPUTS;
    scorer_string_dup(&ret->state.schema, "my-model");
    ret->state.revision = 1;
    ret->stride = sizeof(struct series);
    ret->warm_up_rows = settings.warm_up_rows;
    ret->traits = EXPORTS_HIGHWATER_SCORING_MODEL_TRAITS_LEARNS |
                  EXPORTS_HIGHWATER_SCORING_MODEL_TRAITS_BATCH_INVARIANT |
                  EXPORTS_HIGHWATER_SCORING_MODEL_TRAITS_DETERMINISTIC;
}

bool exports_highwater_scoring_model_score(exports_highwater_scoring_model_batch_t *rows, scorer_list_u8_t *state,
                                           exports_highwater_scoring_model_scored_t *ret,
                                           exports_highwater_scoring_model_fault_t *err) {
    struct series *slab = (struct series *)state->ptr;
    size_t series = state->len / sizeof *slab;
    size_t count = rows->rows;
    uint8_t *flags = zeros(count, sizeof *flags);
    /* One column after the other. */
    double *scores = zeros(OUTPUTS * count, sizeof *scores);
    double *lows = scores + count;
    double *highs = lows + count;
    const char *problem = NULL;
    for (size_t row = 0; row < count; row++) {
        if (rows->slot.ptr[row] >= series) {
            problem = "a row names a series that was not passed";
            break;
        }
        struct series *one = &slab[rows->slot.ptr[row]];
        if (one->rows < settings.warm_up_rows) flags[row] = WARM_UP;
        struct said said = series_fold(one, rows->values.ptr[row], &settings);
        scores[row] = said.score;
        lows[row] = said.low;
        highs[row] = said.high;
    }
    scorer_list_u32_free(&rows->slot);
    scorer_list_s64_free(&rows->event_time);
    scorer_list_f64_free(&rows->values);
    scorer_list_u8_free(&rows->missing);
    if (problem) {
        scorer_list_u8_free(state);
        free(scores);
        free(flags);
        return fail(err, EXPORTS_HIGHWATER_SCORING_MODEL_FAULT_BAD_INPUT, problem);
    }
    ret->values.ptr = scores;
    ret->values.len = OUTPUTS * count;
    ret->row_flags.ptr = flags;
    ret->row_flags.len = count;
    ret->state = *state;
    return true;
}

bool exports_highwater_scoring_model_upgrade_state(exports_highwater_scoring_model_state_id_t *source, uint32_t slots,
                                                   scorer_list_u8_t *state, scorer_list_u8_t *ret,
                                                   exports_highwater_scoring_model_fault_t *err) {
    (void)slots, (void)ret;
    exports_highwater_scoring_model_state_id_free(source);
    scorer_list_u8_free(state);
    return fail(err, EXPORTS_HIGHWATER_SCORING_MODEL_FAULT_BAD_STATE, "knows no other version of its state");
}
