//! Query parameters: each known by name, each mistake answered with what would be right.

use axum::http::StatusCode;
use chassis::problem::Problem;
use schemas::Micros;
use store::port::{Page, Span};

/// The parameters of one request.
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Sorts out what is not in `accepted`, and what is given twice.
    pub(crate) fn new(given: Vec<(String, String)>, accepted: &[&str]) -> Result<Self, Problem> {
        for (at, (name, _)) in given.iter().enumerate() {
            if !accepted.contains(&name.as_str()) {
                let detail = match accepted {
                    [] => format!("`{name}`: no parameter is known here"),
                    known => format!("`{name}` is not known here; known are {}", known.join(", ")),
                };
                return Err(refused(name, detail).with("accepted", accepted.to_vec()));
            }
            if given.iter().take(at).any(|(before, _)| before == name) {
                return Err(refused(name, format!("`{name}` is given twice")));
            }
        }
        Ok(Self(given))
    }

    /// A text, if given; an empty one is as none.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .filter(|text| !text.is_empty())
    }

    /// A text that must be given.
    pub(crate) fn required(&self, name: &str, what: &str) -> Result<&str, Problem> {
        self.text(name).ok_or_else(|| refused(name, format!("`{name}` is missing: {what}")))
    }

    /// `true` or `false`; false when absent.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.text(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(refused(name, format!("`{other}` is not true or false"))),
        }
    }

    /// `limit` and `cursor`.
    pub(crate) fn page(&self, default: u32, max: u32) -> Result<Page, Problem> {
        let limit = match self.text("limit") {
            None => default,
            Some(text) => {
                text.parse().ok().filter(|limit| (1..=max).contains(limit)).ok_or_else(|| {
                    refused("limit", format!("`{text}` is not a whole number from 1 to {max}"))
                })?
            }
        };
        Ok(Page { limit, cursor: self.text("cursor").map(str::to_owned) })
    }

    /// `from` (inclusive) and `to` (exclusive); without them, all time.
    pub(crate) fn span(&self) -> Result<Span, Problem> {
        let span = Span {
            from: self.time("from")?.unwrap_or(Micros::MIN),
            to: self.time("to")?.unwrap_or(Micros::MAX),
        };
        if span.from > span.to {
            return Err(refused("from", "`from` lies after `to`".to_owned()));
        }
        Ok(span)
    }

    fn time(&self, name: &str) -> Result<Option<Micros>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        text.parse::<jiff::Timestamp>().map(|time| Some(time.as_microsecond())).map_err(|_| {
            let detail = format!(
                "`{text}` is not a time in RFC 3339 with its offset, like 2026-01-31T09:30:00Z \
                 (a `+` in an offset is written %2B)"
            );
            refused(name, detail)
        })
    }
}

fn refused(name: &str, detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad-parameter", "A parameter cannot be used", detail)
        .with("parameter", name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(pairs: &[(&str, &str)]) -> Result<Parameters, Problem> {
        let given = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Parameters::new(given, &["limit", "cursor", "from", "to", "latest"])
    }

    #[test]
    fn spans_are_half_open_times_with_offset() {
        let span =
            parameters(&[("from", "1970-01-01T01:00:00.000001+01:00"), ("to", "1970-01-01T00:00:01Z")]);
        assert_eq!(span.unwrap().span().unwrap(), Span { from: 1, to: 1_000_000 });
        assert_eq!(parameters(&[]).unwrap().span().unwrap(), Span { from: Micros::MIN, to: Micros::MAX });
        for bad in ["yesterday", "12", "2026-01-31", "2026-01-31T09:30:00"] {
            let problem = parameters(&[("from", bad)]).unwrap().span().unwrap_err();
            assert!(problem.detail().contains(bad) && problem.detail().contains("RFC 3339"), "{problem:?}");
        }
        let turned = parameters(&[("from", "2026-01-02T00:00:00Z"), ("to", "2026-01-01T00:00:00Z")]);
        assert!(turned.unwrap().span().is_err());
    }

    #[test]
    fn pages_have_bounds() {
        assert_eq!(parameters(&[]).unwrap().page(50, 100).unwrap(), Page { limit: 50, cursor: None });
        for bad in ["0", "101", "-1", "ten", "1e1"] {
            assert!(parameters(&[("limit", bad)]).unwrap().page(50, 100).is_err(), "{bad}");
        }
    }

    #[test]
    fn unknown_and_doubled_names_are_refused() {
        let problem = parameters(&[("lmit", "5")]).err().unwrap();
        assert!(problem.detail().contains("known are limit, cursor"), "{problem:?}");
        assert!(parameters(&[("limit", "5"), ("limit", "6")]).is_err());
        assert!(parameters(&[("latest", "yes")]).unwrap().flag("latest").is_err());
    }
}
