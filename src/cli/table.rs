//! Text tables for a terminal.

use serde_json::Value as Json;

/// No cell is wider, in characters.
const WIDEST: usize = 48;

/// A table with these headings; columns are as wide as their widest cell, up to a bound.
pub(super) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let cells: Vec<Vec<String>> = std::iter::once(headings.iter().map(|text| (*text).to_owned()).collect())
        .chain(rows.iter().cloned())
        .map(|row: Vec<String>| row.iter().map(|cell| shortened(cell)).collect())
        .collect();
    let width = |column: usize| {
        cells.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let mut text = String::new();
    for row in &cells {
        let padded: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A value in a cell: text without quotes, nothing as a dash.
pub(super) fn cell(value: Option<&Json>) -> String {
    match value {
        None | Some(Json::Null) => "-".to_owned(),
        Some(Json::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// One line, cut where it is too long; what a terminal would obey is shown as blanks.
fn shortened(cell: &str) -> String {
    let line: String = cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.chars().count() <= WIDEST {
        return line;
    }
    line.chars().take(WIDEST - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_long_or_wild_cells_stay_in_their_line() {
        let rows = [
            vec!["a".to_owned(), "x".repeat(60), "1".to_owned()],
            vec!["longer".to_owned(), "two\nlines\u{1b}[31m".to_owned(), "2".to_owned()],
        ];
        let text = table(&["id", "error", "n"], &rows);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[1], format!("a       {}…  1", "x".repeat(47)));
        assert!(lines[2].starts_with("longer  two lines [31m"), "{}", lines[2]);
        assert_eq!(cell(Some(&Json::Null)), "-");
        assert_eq!(cell(Some(&serde_json::json!([1, 2]))), "[1,2]");
    }
}
