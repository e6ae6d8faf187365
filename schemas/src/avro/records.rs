//! Which record has which fields, in the order of the `.avsc` files. The tests hold this list, the structs and the
//! schemas together with `apache-avro` as the referee.

use super::{Datum, Input, Malformed, write_count};
use crate::record::{
    Aggregate, Alert, AlertKind, Audit, Channel, CommitMetadata, Control, DeadLetter, Device, DeviceLatest,
    DeviceSummary, EmissionKind, End, Late, Measured, ModelPiece, Raw, Reading, Refusal, Score, ScoreSummary,
    Shadow, SnapshotHeader, SnapshotLocator, Stage, Totals, TrialCounts,
};

macro_rules! record {
    ($name:ident { $($field:ident),+ $(,)? }) => {
        #[cfg(test)]
        impl $name {
            pub(super) const FIELDS: &'static [&'static str] = &[$(stringify!($field)),+];
        }
        impl Datum for $name {
            fn write(&self, out: &mut Vec<u8>) {
                $(Datum::write(&self.$field, out);)+
            }
            fn read(input: &mut Input<'_>, _field: &'static str) -> Result<Self, Malformed> {
                // A struct literal's fields are evaluated in the order written.
                Ok(Self { $($field: Datum::read(input, stringify!($field))?,)+ })
            }
        }
    };
}

macro_rules! symbols {
    ($name:ident [ $($symbol:ident),+ $(,)? ]) => {
        impl $name {
            /// Every symbol, in the schema's order.
            pub const ALL: &'static [Self] = &[$(Self::$symbol),+];
        }
        impl Datum for $name {
            fn write(&self, out: &mut Vec<u8>) {
                write_count(Self::ALL.iter().position(|symbol| symbol == self).unwrap_or_default(), out);
            }
            fn read(input: &mut Input<'_>, field: &'static str) -> Result<Self, Malformed> {
                input.index(Self::ALL.len(), field).map(|index| Self::ALL[index])
            }
        }
    };
}

symbols!(EmissionKind[Early, OnTime, Late, AtEnd, Retracted]);
symbols!(AlertKind[Score, Stalled, Clock]);
symbols!(Stage[Ingest, Decode, Step, Scoring, Sink]);

impl Datum for Measured {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.push(0),
            Self::Number(value) => {
                out.push(2);
                value.write(out);
            }
            Self::Bool(value) => {
                out.push(4);
                value.write(out);
            }
        }
    }
    fn read(input: &mut Input<'_>, field: &'static str) -> Result<Self, Malformed> {
        match input.index(3, field)? {
            0 => Ok(Self::Null),
            1 => input.double(field).map(Self::Number),
            _ => input.boolean(field).map(Self::Bool),
        }
    }
}

record!(Reading { device_id, event_time, seq, boot, measurements, tags });
record!(Channel { unit, scale, offset });
record!(Device { device_id, deleted, site, model, tags, channels, disorder, quiet_after, lateness, settle });
record!(Control { generation, pipeline, models, skip_from, skip_to });
record!(End { device_id });

impl Datum for Raw {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Reading(reading) => {
                write_count(0, out);
                reading.write(out);
            }
            Self::Device(device) => {
                write_count(1, out);
                device.write(out);
            }
            Self::Control(control) => {
                write_count(2, out);
                control.write(out);
            }
            Self::Tick => write_count(3, out),
            Self::End(end) => {
                write_count(4, out);
                end.write(out);
            }
        }
    }
    fn read(input: &mut Input<'_>, field: &'static str) -> Result<Self, Malformed> {
        Ok(match input.index(5, field)? {
            0 => Self::Reading(Datum::read(input, field)?),
            1 => Self::Device(Datum::read(input, field)?),
            2 => Self::Control(Datum::read(input, field)?),
            3 => Self::Tick,
            _ => Self::End(Datum::read(input, field)?),
        })
    }
}

record!(ScoreSummary { model, count, mean, max, alerts, failed });
record!(DeviceSummary { site, model, unit, tags });
record!(Aggregate {
    device_id,
    metric,
    window,
    start,
    end,
    revision,
    kind,
    newest,
    count,
    nulls,
    sum,
    min,
    max,
    first,
    last,
    mean,
    m2,
    merged_into,
    device,
    scores,
    contributed_at,
    generation,
    write_clock
});
record!(Score {
    device_id,
    model,
    version,
    metric,
    event_time,
    value,
    score,
    threshold,
    warm_up,
    source_offset,
    received_at,
    window,
    window_end,
    write_clock
});
record!(Alert {
    device_id,
    id,
    kind,
    message,
    event_time,
    metric,
    value,
    model,
    version,
    score,
    threshold,
    feature,
    expected_low,
    expected_high,
    window,
    window_end,
    received_at,
    generation,
    write_clock
});
record!(Refusal { window, start, end });
record!(Late { reading, refusals, source_partition, source_offset, received_at, write_clock });
record!(DeadLetter {
    reason,
    detail,
    stage,
    source_topic,
    source_partition,
    source_offset,
    device_id,
    key,
    value,
    truncated,
    redriven,
    received_at,
    write_clock
});
record!(DeviceLatest { device, received_at, write_clock });
record!(SnapshotLocator { partition, offset, records, covers_to, sha256 });
record!(SnapshotHeader { format, build, partition, covers_to, bytes, chunks, sha256 });
record!(Totals {
    received,
    others,
    aggregated,
    filtered,
    duplicate,
    late,
    rejected,
    late_partial,
    beyond_horizon,
    scored,
    scoring_failed,
    outputs
});
record!(TrialCounts {
    model,
    version,
    stage,
    rows,
    compared,
    failed_active,
    failed_trial,
    alerts_active,
    alerts_trial,
    alerts_both,
    fuel_active,
    fuel_trial
});
record!(Audit { partition, from, to, totals, digest, write_clock, generation, snapshot, build, trials });
record!(Shadow {
    device_id,
    model,
    version,
    metric,
    event_time,
    value,
    score,
    threshold,
    warm_up,
    served_score,
    source_offset,
    received_at,
    window,
    window_end,
    write_clock
});
record!(ModelPiece { digest, index, count, bytes, signature });
record!(CommitMetadata { version, build, generation, digest, write_clock, receipt_now, snapshot, previous });
