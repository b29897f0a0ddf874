//! Aligned columns.

use super::plain;

/// Rows under headings. A column in which every cell is empty is not drawn.
#[derive(Debug)]
pub(crate) struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table; empty headings draw no heading line.
    pub(crate) fn new(headings: &[&'static str]) -> Self {
        Self { headings: headings.to_vec(), rows: Vec::new() }
    }

    /// Adds a row with a cell for each heading.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| plain(&cell)).collect());
    }

    /// The table as lines, each ended.
    pub(crate) fn draw(&self) -> String {
        let shown: Vec<usize> = (0..self.headings.len())
            .filter(|column| self.rows.iter().any(|row| !cell(row, *column).is_empty()))
            .collect();
        let width = |column: &usize| {
            let heading = self.headings.get(*column).map_or(0, |heading| heading.chars().count());
            let cells = self.rows.iter().map(|row| cell(row, *column).chars().count());
            cells.max().unwrap_or(0).max(heading)
        };
        let widths: Vec<usize> = shown.iter().map(width).collect();
        let line = |texts: Vec<&str>| {
            let padded: Vec<String> =
                texts.iter().zip(&widths).map(|(text, width)| format!("{text:<width$}")).collect();
            format!("{}\n", padded.join("  ").trim_end())
        };
        let headings: Vec<&str> =
            shown.iter().filter_map(|column| self.headings.get(*column).copied()).collect();
        let heading = headings.iter().any(|text| !text.is_empty()).then(|| line(headings));
        let body = self
            .rows
            .iter()
            .map(|row| line(shown.iter().map(|column| cell(row, *column)).collect()));
        heading.into_iter().chain(body).collect()
    }
}

fn cell(row: &[String], column: usize) -> &str {
    row.get(column).map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_empty_ones_left_out() {
        let mut table = Table::new(&["ID", "BATCH", "STATE"]);
        table.row(["1".into(), String::new(), "queued".into()]);
        table.row(["12".into(), String::new(), "poll\ning".into()]);
        assert_eq!(table.draw(), "ID  STATE\n1   queued\n12  poll ing\n");
    }
}
