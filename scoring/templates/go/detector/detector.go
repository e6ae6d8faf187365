// Package detector says how far a value lies from where its series has been: an exponentially weighted z-score with a
// refractory period.
//
// Finch, "Incremental calculation of weighted mean and variance" (2009), section 9:
//
//	diff = x - mean;  step = a * diff;  mean' = mean + step;  variance' = (1 - a) * (variance + diff * step)
//
// with a = max(alpha, 1 / (n + 1)). The score is |x - mean| / sigma before the update; expected are the values within
// `trigger` such sigmas of the mean. After a score at or above `trigger` the next `refractory-rows` scores are held below
// half of it, so one event alarms once.
//
// Lives here: arithmetic and settings. Does not live here: the contract with the host (export_highwater_scoring_model).
// Only + - * / and sqrt are used, in this order, and products are rounded by float64(...), which forbids Go to fuse them
// with a sum: every machine, and the same model in another language, gives the same bytes.
package detector

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"strings"
)

const (
	// ScoreMax is the greatest score; also the score of any change while sigma is 0.
	ScoreMax = 1000.0
	// Values beyond it are taken for it, so that squares stay finite.
	magnitudeMax = 1e150
)

// Settings of the detector.
type Settings struct {
	// Weight of a new value, in (0, 1].
	Alpha float64 `json:"alpha"`
	// Rows of a series before its scores mean something.
	WarmUpRows uint32 `json:"warm-up-rows"`
	// Score that starts the refractory period.
	Trigger float64 `json:"trigger"`
	// Rows after a trigger whose scores are held down.
	RefractoryRows uint32 `json:"refractory-rows"`
	// Least sigma, in the unit of the values.
	SigmaMin float64 `json:"sigma-min"`
	// Least sigma as a share of the mean.
	SigmaMinRatio float64 `json:"sigma-min-ratio"`
}

// ReadSettings takes JSON; names that it does not know are an error.
func ReadSettings(text string) (Settings, error) {
	settings := Settings{Alpha: 0.01, WarmUpRows: 100, Trigger: 5, RefractoryRows: 100, SigmaMinRatio: 0.001}
	if strings.TrimSpace(text) != "" {
		reader := json.NewDecoder(strings.NewReader(text))
		reader.DisallowUnknownFields()
		if err := reader.Decode(&settings); err != nil {
			return settings, err
		}
		if _, err := reader.Token(); err != io.EOF {
			return settings, errors.New("settings are one JSON object")
		}
	}
	if !(settings.Alpha > 0 && settings.Alpha <= 1) {
		return settings, errors.New("alpha must be above 0 and at most 1")
	}
	for _, number := range []float64{settings.Trigger, settings.SigmaMin, settings.SigmaMinRatio} {
		if !(number >= 0) || math.IsInf(number, 0) {
			return settings, errors.New("trigger, sigma-min and sigma-min-ratio must be finite and not negative")
		}
	}
	return settings, nil
}

// Series is what the host keeps of a series: these 24 bytes, little-endian as WebAssembly is. All zeros: never seen.
type Series struct {
	Rows       uint32
	Refractory uint32
	Mean       float64
	Variance   float64
}

func greatest(a, b float64) float64 {
	if a > b {
		return a
	}
	return b
}

func least(a, b float64) float64 {
	if a < b {
		return a
	}
	return b
}

func bounded(value float64) float64 {
	return least(greatest(value, -magnitudeMax), magnitudeMax)
}

// Fold scores a value, then learns it; low and high are the least and the greatest value that would have been expected.
func (series *Series) Fold(value float64, settings *Settings) (score, low, high float64) {
	diff := bounded(value) - series.Mean
	floor := greatest(settings.SigmaMin, settings.SigmaMinRatio*math.Abs(series.Mean))
	sigma := greatest(math.Sqrt(series.Variance), floor)
	reach := float64(settings.Trigger * sigma)
	low, high = bounded(series.Mean-reach), bounded(series.Mean+reach)
	if series.Rows != 0 && diff != 0 {
		score = least(math.Abs(diff)/sigma, ScoreMax)
	}

	weight := greatest(settings.Alpha, 1/(float64(series.Rows)+1))
	step := float64(weight * diff)
	series.Mean += step
	series.Variance = (1 - weight) * (series.Variance + float64(diff*step))

	warm := series.Rows >= settings.WarmUpRows
	if series.Rows < math.MaxUint32 {
		series.Rows++
	}
	if series.Refractory > 0 {
		series.Refractory--
		score = least(score, settings.Trigger/2)
	} else if warm && score >= settings.Trigger {
		series.Refractory = settings.RefractoryRows
	}
	return score, low, high
}
