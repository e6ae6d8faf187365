//! A log line as a JSON object: time, level, target, service, version, the event's fields, the open spans' fields.
//! Invariant: a line is one line, whatever the fields hold, and no field is longer than [`FIELD_CHARS_MAX`].

use crate::clock::{Clock, rfc3339};
use serde_json::{Map, Value};
use std::fmt;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Longer texts are cut: a log is no place for a payload.
const FIELD_CHARS_MAX: usize = 4_096;

/// The format.
#[derive(Debug)]
pub(super) struct Json {
    pub(super) service: &'static str,
    pub(super) version: &'static str,
}

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Fields(Map::new());
        line.put("time", rfc3339(Clock::system().now()).into());
        line.put("level", event.metadata().level().as_str().to_ascii_lowercase().into());
        line.put("target", event.metadata().target().into());
        line.put("service", self.service.into());
        line.put("version", self.version.into());
        event.record(&mut line);
        let spans: Vec<&str> = context
            .event_scope()
            .into_iter()
            .flat_map(|scope| scope.from_root())
            .map(|span| span.name())
            .collect();
        if !spans.is_empty() {
            line.put("span", spans.join(":").into());
        }
        writeln!(out, "{}", Value::Object(line.0))
    }
}

struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    fn text(&mut self, field: &Field, text: &str) {
        let cut = text.char_indices().nth(FIELD_CHARS_MAX).map_or(text.len(), |(at, _)| at);
        self.put(field.name(), text[..cut].into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.text(field, &crate::error_chain(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::layer::SubscriberExt;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_one_json_object_whatever_the_fields_hold() {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let layer = tracing_subscriber::fmt::layer()
            .event_format(Json { service: "ingest", version: "1.2.3" })
            .with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let _span = tracing::info_span!("request").entered();
            let long = "x".repeat(1 << 20);
            tracing::warn!(device = "a\n\u{1b}[31mred", count = 3_u64, long, "two\nlines");
        });
        let bytes = buffer.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text.matches('\n').count(), 1);
        assert!(!text.contains('\u{1b}'));
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&line["service"], &line["version"], &line["level"]),
            (&"ingest".into(), &"1.2.3".into(), &"warn".into())
        );
        assert_eq!((&line["message"], &line["count"]), (&"two\nlines".into(), &3.into()));
        assert_eq!((&line["device"], &line["span"]), (&"a\n\u{1b}[31mred".into(), &"request".into()));
        assert_eq!(line["long"].as_str().unwrap().len(), FIELD_CHARS_MAX);
    }
}
