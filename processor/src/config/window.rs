//! `[[window]]`: one window definition as written, and its checks.

use super::{micros, optional_micros};
use chassis::config::Problems;
use schemas::Micros;
use schemas::pipeline::{Window, WindowKind};
use serde::{Deserialize, Serialize};

/// `[[window]]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RawWindow {
    /// Public name, part of every key in the store.
    pub name: Option<String>,
    /// `tumbling`, `hopping` or `session`.
    pub kind: Option<String>,
    /// Length of a tumbling or hopping window.
    pub size: Option<String>,
    /// Shift of a tumbling window against the epoch; 0.
    pub offset: Option<String>,
    /// Distance between the starts of hopping windows.
    pub advance: Option<String>,
    /// Silence that ends a session.
    pub gap: Option<String>,
    /// Early emission every so much time.
    pub early_every: Option<String>,
    /// Early emission every so many readings.
    pub early_count: Option<u64>,
    /// Metrics of this window, instead of `[metrics]`.
    pub metrics: Option<Vec<String>>,
    /// Instead of `time.disorder`.
    pub disorder: Option<String>,
    /// Instead of `time.quiet-after`.
    pub quiet_after: Option<String>,
    /// Instead of `time.lateness`.
    pub lateness: Option<String>,
    /// Instead of `time.settle`.
    pub settle: Option<String>,
}

/// 1 to 32 letters, digits, `-`, `_`: what windows and models may be called.
pub(super) fn is_name(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// Overlaps of a hopping window: every reading is folded once per slice, every emission merges so many.
const SLICES_MAX: i64 = 1_000;

impl RawWindow {
    /// The window of a configuration that names none.
    pub(super) fn minute() -> Self {
        Self {
            name: Some("1m".to_owned()),
            kind: Some("tumbling".to_owned()),
            size: Some("1m".to_owned()),
            ..Self::default()
        }
    }

    pub(super) fn resolve(self, at: &str, problems: &mut Problems) -> Window {
        let name = self.name.clone().unwrap_or_default();
        if !is_name(&name) {
            problems
                .add(format!("{at}.name"), format!("`{name}` is not 1 to 32 letters, digits, `-` or `_`"));
        }
        let kind = self.assigner(at, problems);
        let mut span = |field: &str, text: &Option<String>| {
            optional_micros(problems, &format!("{at}.{field}"), text.as_deref())
        };
        let window = Window {
            early_every: span("early-every", &self.early_every),
            disorder: span("disorder", &self.disorder),
            quiet_after: span("quiet-after", &self.quiet_after),
            lateness: span("lateness", &self.lateness),
            settle: span("settle", &self.settle),
            name,
            kind,
            early_count: self.early_count,
            metrics: self.metrics,
        };
        if window.early_every == Some(0) || window.early_count == Some(0) {
            problems
                .add(at, "`early-every` and `early-count` must be greater than 0; leave them out for none");
        }
        if window.metrics.as_ref().is_some_and(Vec::is_empty) {
            problems.add(format!("{at}.metrics"), "is empty: the window would take nothing");
        }
        window
    }

    fn assigner(&self, at: &str, problems: &mut Problems) -> WindowKind {
        match self.kind.as_deref().unwrap_or("tumbling") {
            "tumbling" => {
                self.refuse(at, &[("advance", &self.advance), ("gap", &self.gap)], problems);
                let size = self.needed(at, "size", &self.size, problems);
                let offset = micros(problems, &format!("{at}.offset"), self.offset.as_deref(), 0);
                if offset >= size {
                    problems.add(format!("{at}.offset"), "is not less than `size`");
                }
                WindowKind::Tumbling { size, offset: if offset < size { offset } else { 0 } }
            }
            "hopping" => {
                self.refuse(at, &[("offset", &self.offset), ("gap", &self.gap)], problems);
                let size = self.needed(at, "size", &self.size, problems);
                let advance = self.needed(at, "advance", &self.advance, problems);
                if advance > size {
                    problems
                        .add(format!("{at}.advance"), "is greater than `size`: readings would fall between");
                }
                if size / gcd(size, advance) > SLICES_MAX {
                    let slices = size / gcd(size, advance);
                    problems.add(
                        format!("{at}.advance"),
                        format!("cuts the window into {slices} slices; at most {SLICES_MAX}"),
                    );
                }
                WindowKind::Hopping { size, advance }
            }
            "session" => {
                let others = [("size", &self.size), ("offset", &self.offset), ("advance", &self.advance)];
                self.refuse(at, &others, problems);
                WindowKind::Session { gap: self.needed(at, "gap", &self.gap, problems) }
            }
            other => {
                problems.add(format!("{at}.kind"), format!("`{other}` is not tumbling, hopping or session"));
                WindowKind::Tumbling { size: 60_000_000, offset: 0 }
            }
        }
    }

    /// A span that must be there and be greater than 0.
    fn needed(&self, at: &str, field: &str, text: &Option<String>, problems: &mut Problems) -> Micros {
        let key = format!("{at}.{field}");
        let kind = self.kind.as_deref().unwrap_or("tumbling");
        match text {
            None => problems.add(key, format!("is needed by a {kind} window")),
            Some(text) => match optional_micros(problems, &key, Some(text)) {
                Some(0) => problems.add(key, "must be greater than 0"),
                Some(span) => return span,
                None => {}
            },
        }
        60_000_000
    }

    fn refuse(&self, at: &str, fields: &[(&str, &Option<String>)], problems: &mut Problems) {
        for (field, value) in fields {
            if value.is_some() {
                let kind = self.kind.as_deref().unwrap_or("tumbling");
                problems.add(format!("{at}.{field}"), format!("means nothing for a {kind} window"));
            }
        }
    }
}

/// Greatest common divisor of two positive spans.
pub(super) fn gcd(a: Micros, b: Micros) -> Micros {
    if b == 0 { a } else { gcd(b, a % b) }
}
