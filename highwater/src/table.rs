//! Plain tables for one-shot commands: columns as wide as needed, numbers to the right.

use serde_json::Value;

/// Lines of a table of JSON objects; a column is (title, JSON pointer).
pub(crate) fn lines(rows: &[Value], columns: &[(&str, &str)]) -> Vec<String> {
    let cells: Vec<Vec<(String, bool)>> = rows
        .iter()
        .map(|row| columns.iter().map(|(_, pointer)| cell(row.pointer(pointer))).collect())
        .collect();
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(index, (title, _))| {
            let widest =
                cells.iter().filter_map(|row| row.get(index)).map(|(text, _)| text.chars().count()).max();
            widest.unwrap_or(0).max(title.chars().count())
        })
        .collect();
    let title = columns.iter().zip(&widths).map(|((title, _), width)| format!("{title:<width$}"));
    let mut lines = vec![title.collect::<Vec<_>>().join("  ").trim_end().to_owned()];
    for row in cells {
        let row = row.iter().zip(&widths).map(|((text, number), width)| {
            if *number { format!("{text:>width$}") } else { format!("{text:<width$}") }
        });
        lines.push(row.collect::<Vec<_>>().join("  ").trim_end().to_owned());
    }
    lines
}

/// A value in one line, as in a cell.
pub(crate) fn text(value: &Value) -> String {
    cell(Some(value)).0
}

fn cell(value: Option<&Value>) -> (String, bool) {
    match value {
        None | Some(Value::Null) => ("-".to_owned(), false),
        Some(Value::String(text)) => (text.clone(), false),
        Some(Value::Number(number)) => match number.as_f64() {
            Some(float) if !number.is_i64() && !number.is_u64() => (format!("{float:.3}"), true),
            _ => (number.to_string(), true),
        },
        Some(Value::Bool(true)) => ("yes".to_owned(), false),
        Some(Value::Bool(false)) => ("no".to_owned(), false),
        Some(Value::Array(list)) => {
            let texts: Vec<String> = list.iter().map(|item| cell(Some(item)).0).collect();
            (texts.join(", "), false)
        }
        Some(Value::Object(_)) => ("...".to_owned(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_line_up_and_absent_values_show_as_a_dash() {
        let rows = [json!({"p": 0, "state": "ok"}), json!({"p": 12, "lag": {"s": 1.5}})];
        let lines = lines(&rows, &[("partition", "/p"), ("state", "/state"), ("seconds", "/lag/s")]);
        assert_eq!(lines, ["partition  state  seconds", "        0  ok     -", "       12  -        1.500"]);
    }
}
