//! Pure: tables for people.

use comfy_table::{Attribute, Cell, Color, ContentArrangement, Row, Table, presets::NOTHING};

use super::{Paint, Style};

/// One field of a table: a text, perhaps in a colour. The colour is kept apart, so that columns stay aligned.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    text: String,
    paint: Option<Paint>,
}

impl Field {
    /// A text in a colour.
    pub(crate) fn painted(paint: Paint, text: impl Into<String>) -> Self {
        Self { text: text.into(), paint: Some(paint) }
    }
}

impl<T: Into<String>> From<T> for Field {
    fn from(text: T) -> Self {
        Self { text: text.into(), paint: None }
    }
}

impl From<Field> for Cell {
    fn from(field: Field) -> Self {
        let cell = Self::new(&field.text);
        match field.paint {
            None => cell,
            Some(Paint::Good) => cell.fg(Color::DarkGreen),
            Some(Paint::Busy) => cell.fg(Color::DarkYellow),
            Some(Paint::Bad) => cell.fg(Color::DarkRed),
            Some(Paint::Dim) => cell.add_attribute(Attribute::Dim),
        }
    }
}

/// A table without lines, with a header.
pub(crate) fn with_header(style: Style, columns: &[&str], rows: Vec<Vec<Field>>) -> String {
    let mut table = bare(style);
    table.set_header(columns.iter().map(|column| column.to_uppercase()));
    table.add_rows(rows.into_iter().map(Row::from));
    trimmed(&table)
}

/// Names and values, one pair a line; pairs without a value are left out.
pub(crate) fn pairs(style: Style, rows: Vec<(&str, Field)>) -> String {
    let mut table = bare(style);
    let shown = rows.into_iter().filter(|(_, field)| !field.text.is_empty());
    table.add_rows(shown.map(|(name, field)| Row::from(vec![Field::from(name), field])));
    trimmed(&table)
}

fn bare(style: Style) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if style.colour() {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table
}

fn trimmed(table: &Table) -> String {
    let lines: Vec<String> =
        table.lines().map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned()).collect();
    lines.join("\n")
}

/// `512.0 MiB`.
pub(crate) fn mebibytes(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10) / (1 << 20);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_its_header_and_no_trailing_blanks() {
        let rows = || vec![vec!["b1".into(), Field::painted(Paint::Good, "running")]];
        let plain = with_header(Style::plain(), &["id", "phase"], rows());
        assert_eq!(plain, "ID  PHASE\nb1  running");
        assert!(with_header(Style::coloured(), &["id", "phase"], rows()).contains("\x1b["));
        assert_eq!(pairs(Style::plain(), vec![("a", "1".into()), ("none", "".into())]), "a  1");
        assert_eq!(mebibytes(512 << 20), "512.0 MiB");
    }
}
