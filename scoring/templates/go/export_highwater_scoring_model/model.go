// Package export_highwater_scoring_model is the contract with the host: what the model says of itself, and batches of rows
// through the detector. Its name, and those of its functions, are the ones that the bindings ask for.
//
// The host keeps the state of every series as bytes and passes it in and out: nothing that a row taught may stay in a
// variable of this package. A model gets no clock, no random numbers, no file and no network.
package export_highwater_scoring_model

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"unsafe"

	. "go.bytecodealliance.org/pkg/wit/types"
	"wit_component/detector"
	. "wit_component/highwater_scoring_model"
)

const (
	stride = uint32(unsafe.Sizeof(detector.Series{}))
	warmUp = 1
	// Bytes of batches after which the garbage is collected; what a row leaves in the lists of a call (slot, time, value,
	// three outputs, flags), and a call besides them.
	collectEvery = 128 << 10
	rowBytes     = 4 + 8 + 8 + 3*8 + 1
	callBytes    = 1 << 10
)

var (
	settings detector.Settings
	// Bytes of batches since the last collection.
	uncollected int
)

// The collector must not start by itself: it could do so while the host writes arguments, and it reads a clock, which is
// an import; a component that calls one at that moment is stopped ("cannot leave component instance"). Score collects.
func init() {
	debug.SetGCPercent(-1)
}

// Counts the bytes of a batch, and collects now and then.
func collect(bytes int) {
	uncollected += bytes
	if uncollected >= collectEvery {
		uncollected = 0
		runtime.GC()
	}
}

// Configure is called once, before anything else.
func Configure(text string, artifact Option[[]uint8], seed uint64) Result[Unit, Fault] {
	if artifact.Tag() == OptionSome {
		return Err[Unit](MakeFaultBadConfig("takes no artifact"))
	}
	read, err := detector.ReadSettings(text)
	if err != nil {
		return Err[Unit](MakeFaultBadConfig(err.Error()))
	}
	settings = read
	// The memory that batches and collections need is taken now: an instance must not grow.
	reserve := make([]byte, 8*collectEvery)
	runtime.KeepAlive(reserve)
	collect(collectEvery)
	return Ok[Unit, Fault](Unit{})
}

// Describe says what the model, configured, takes and gives.
func Describe() Descriptor {
	return Descriptor{
		Name:     "my-model",
		Version:  "0.1.0",
		Features: []Feature{{Name: "value", Unit: None[string](), Missing: MissingRule_SkipRow}},
		Outputs: []Output{
			{Name: "sigmas", Role: Role_Score, Min: Some(0.0), Max: Some(detector.ScoreMax)},
			{Name: "low", Role: Role_LowerBound, Min: None[float64](), Max: None[float64]()},
			{Name: "high", Role: Role_UpperBound, Min: None[float64](), Max: None[float64]()},
		},
		State:      StateId{Schema: "my-model", Revision: 1},
		Stride:     stride,
		WarmUpRows: settings.WarmUpRows,
		Traits:     Traits_Learns | Traits_BatchInvariant | Traits_Deterministic,
	}
}

// Score folds a batch, row after row.
func Score(rows Batch, state []uint8) Result[Scored, Fault] {
	count := len(rows.Values)
	collect(callBytes + len(state) + rowBytes*count)
	if len(state)%int(stride) != 0 {
		return Err[Scored](MakeFaultBadState("not a multiple of the stride"))
	}
	// The slab is in linear memory already, in the layout of Series.
	slab := unsafe.Slice((*detector.Series)(unsafe.Pointer(unsafe.SliceData(state))), len(state)/int(stride))
	flags := make([]uint8, count)
	// One column after the other.
	values := make([]float64, 3*count)
	scores, lows, highs := values[:count], values[count:2*count], values[2*count:]
	for row, slot := range rows.Slot {
		if int(slot) >= len(slab) {
			return Err[Scored](MakeFaultBadInput("a row names a series that was not passed"))
		}
		series := &slab[slot]
		if series.Rows < settings.WarmUpRows {
			flags[row] = warmUp
		}
		scores[row], lows[row], highs[row] = series.Fold(rows.Values[row], &settings)
	}
	return Ok[Scored, Fault](Scored{Values: values, RowFlags: flags, State: state})
}

// UpgradeState translates the state of another version.
func UpgradeState(source StateId, slots uint32, state []uint8) Result[[]uint8, Fault] {
	return Err[[]uint8](MakeFaultBadState(fmt.Sprintf("cannot read %s revision %d", source.Schema, source.Revision)))
}
