//! Files with a tenant a row: CSV with or without a header, separated by `,` or `;`, or JSON lines.
//! Blank lines and lines that begin with `#` are left out. Every bad row is found, not just the
//! first.

use csv::{ReaderBuilder, StringRecord, Trim};
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::entry::{BadRow, Column, Entry, Wrong};

/// Reads the rows of a file, or says what is wrong with each that is bad.
pub(super) fn read_rows(bytes: &[u8], now: Timestamp) -> Result<Vec<Entry>, Vec<BadRow>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| vec![not_utf8(bytes, error)])?;
    let content = text.lines().find(|line| !is_left_out(line)).unwrap_or_default();
    let (entries, bad) = if content.trim_start().starts_with('{') {
        read_json(text, now)
    } else {
        let separator =
            if content.matches(';').count() > content.matches(',').count() { b';' } else { b',' };
        read_csv(text, separator, now)
    };
    if bad.is_empty() { Ok(entries) } else { Err(bad) }
}

fn is_left_out(line: &str) -> bool {
    line.trim().is_empty() || line.starts_with('#')
}

fn not_utf8(bytes: &[u8], error: std::str::Utf8Error) -> BadRow {
    let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let remedy = "the file is not UTF-8: save it as \"CSV UTF-8\"".to_owned();
    let value = "\u{fffd}".to_owned();
    BadRow { line: line.try_into().ok(), column: None, wrong: Wrong { value, remedy } }
}

type Rows = (Vec<Entry>, Vec<BadRow>);

fn read_csv(text: &str, separator: u8, now: Timestamp) -> Rows {
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(separator)
        .comment(Some(b'#'))
        .trim(Trim::All)
        .from_reader(text.as_bytes());
    let (mut entries, mut bad) = (Vec::new(), Vec::new());
    let mut columns: Option<Vec<Column>> = None;
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let line = error.position().map(|position| line_at(text, position.byte()));
                let wrong =
                    Wrong { value: error.to_string(), remedy: "correct the row".to_owned() };
                bad.push(BadRow { line, column: None, wrong });
                continue;
            }
        };
        if record.iter().all(str::is_empty) {
            continue;
        }
        let line = record.position().map(|position| line_at(text, position.byte()));
        let Some(columns) = &columns else {
            if record.iter().any(|cell| Column::named(cell) == Some(Column::Tenant)) {
                match read_header(&record, line) {
                    Ok(header) => columns = Some(header),
                    // Without its columns nothing below can be judged.
                    Err(wrong) => return (Vec::new(), wrong),
                }
                continue;
            }
            columns = Some(Column::ALL.to_vec());
            read_record(&record, line, &Column::ALL, now, &mut entries, &mut bad);
            continue;
        };
        read_record(&record, line, columns, now, &mut entries, &mut bad);
    }
    (entries, bad)
}

/// The line of the record that is read from `byte` on: the reader starts at what it then skips.
fn line_at(text: &str, byte: u64) -> u64 {
    let start = usize::try_from(byte).unwrap_or(usize::MAX);
    let (before, rest) = text.split_at_checked(start).unwrap_or((text, ""));
    let skipped = rest.lines().take_while(|line| is_left_out(line)).count();
    let line = before.matches('\n').count() + skipped + 1;
    line.try_into().unwrap_or(u64::MAX)
}

fn read_header(record: &StringRecord, line: Option<u64>) -> Result<Vec<Column>, Vec<BadRow>> {
    let (mut columns, mut bad) = (Vec::new(), Vec::new());
    for (index, heading) in record.iter().enumerate() {
        let remedy = match Column::named(heading) {
            Some(column) if !columns.contains(&column) => {
                columns.push(column);
                continue;
            }
            Some(column) => format!("{} stands there twice", column.as_str()),
            None => format!("unknown column: rename or remove it; known are {}", Column::names()),
        };
        let wrong = Wrong { value: heading.to_owned(), remedy };
        bad.push(BadRow { line, column: Some((index + 1, "header".to_owned())), wrong });
    }
    if bad.is_empty() { Ok(columns) } else { Err(bad) }
}

fn read_record(
    record: &StringRecord,
    line: Option<u64>,
    columns: &[Column],
    now: Timestamp,
    entries: &mut Vec<Entry>,
    bad: &mut Vec<BadRow>,
) {
    let known = bad.len();
    let mut entry = Entry { line, ..Entry::default() };
    for (index, cell) in record.iter().enumerate() {
        let (name, result) = match columns.get(index) {
            Some(column) => (column.as_str(), entry.set(*column, cell, now)),
            None if cell.is_empty() => continue,
            None => {
                let remedy = format!("there is no such column; known are {}", Column::names());
                ("surplus", Err(Wrong { value: cell.to_owned(), remedy }))
            }
        };
        if let Err(wrong) = result {
            bad.push(BadRow { line, column: Some((index + 1, name.to_owned())), wrong });
        }
    }
    if bad.len() > known {
        return;
    }
    if entry.tenant.is_some() {
        entries.push(entry);
    } else {
        let value = record.iter().collect::<Vec<_>>().join(",");
        let wrong = Wrong { value, remedy: "the row has no tenant id".to_owned() };
        bad.push(BadRow { line, column: None, wrong });
    }
}

fn read_json(text: &str, now: Timestamp) -> Rows {
    let (mut entries, mut bad) = (Vec::new(), Vec::new());
    for (index, content) in text.lines().enumerate().filter(|(_, line)| !is_left_out(line)) {
        let line = (index + 1).try_into().ok();
        match serde_json::from_str::<Map<String, Value>>(content) {
            Ok(object) => match read_object(&object, line, now) {
                Ok(entry) => entries.push(entry),
                Err(wrong) => bad.extend(wrong),
            },
            Err(error) => {
                let remedy = format!("write one JSON object a line ({error})");
                let wrong = Wrong { value: content.chars().take(60).collect(), remedy };
                let column = Some((error.column(), "character".to_owned()));
                bad.push(BadRow { line, column, wrong });
            }
        }
    }
    (entries, bad)
}

fn read_object(
    object: &Map<String, Value>,
    line: Option<u64>,
    now: Timestamp,
) -> Result<Entry, Vec<BadRow>> {
    let mut bad = Vec::new();
    let mut entry = Entry { line, ..Entry::default() };
    for (index, (name, value)) in object.iter().enumerate() {
        let cell = match value {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let result = match Column::named(name) {
            Some(column) => entry.set(column, &cell, now),
            None => {
                let remedy = format!("unknown field; known are {}", Column::names());
                Err(Wrong { value: name.clone(), remedy })
            }
        };
        if let Err(wrong) = result {
            bad.push(BadRow { line, column: Some((index + 1, name.clone())), wrong });
        }
    }
    if bad.is_empty() && entry.tenant.is_none() {
        let remedy = "the object has no tenant_id".to_owned();
        bad.push(BadRow { line, column: None, wrong: Wrong { value: "{…}".to_owned(), remedy } });
    }
    if bad.is_empty() { Ok(entry) } else { Err(bad) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaa-0000-4000-8000-000000000001";
    const B: &str = "aaaaaaaa-0000-4000-8000-000000000002";

    fn read(text: &str) -> Result<Vec<Entry>, Vec<String>> {
        read_rows(text.as_bytes(), "2027-01-31T10:00:00Z".parse().unwrap())
            .map_err(|bad| bad.iter().map(ToString::to_string).collect())
    }

    fn lines(entries: &[Entry]) -> Vec<(u64, String)> {
        entries.iter().map(|e| (e.line.unwrap(), e.tenant.unwrap().to_string())).collect()
    }

    #[test]
    fn a_plain_list_of_ids_is_a_file() {
        let entries = read(&format!("# from the lab\n\n{A}\n\n# more\n  {B}  \n")).unwrap();
        assert_eq!(lines(&entries), [(3, A.to_owned()), (6, B.to_owned())]);
    }

    #[test]
    fn headers_semicolons_bom_quotes_and_empty_rows_are_understood() {
        let text = format!(
            "\u{feff}Domain;Tenant ID;not-before;Reason;Priority\r\n\
             Lab.Example;{A};2h;\"old; unused\r\nreally\";7\r\n;;;;\r\n;{B};;;\r\n"
        );
        let entries = read(&text).unwrap();
        assert_eq!(lines(&entries), [(2, A.to_owned()), (5, B.to_owned())]);
        assert_eq!(entries[0].domain.as_deref(), Some("lab.example"));
        assert_eq!(entries[0].reason.as_deref(), Some("old; unused\r\nreally"));
        assert_eq!(entries[0].priority, Some(7));
        assert_eq!(entries[0].not_before, "2027-01-31T12:00:00Z".parse().ok());
    }

    #[test]
    fn every_bad_row_is_named_with_line_column_and_remedy() {
        let text = format!(
            "tenant,domain,priority\n{A},ok.example,1\nabc,*.example,x\n\n{B},,\n,d.example,\n"
        );
        let bad = read(&text).unwrap_err();
        assert_eq!(bad.len(), 4, "{bad:?}");
        assert!(
            bad[0].starts_with("line 3, column 1 (tenant_id): \"abc\": write a GUID"),
            "{}",
            bad[0]
        );
        assert!(bad[1].starts_with("line 3, column 2 (domain): \"*.example\""), "{}", bad[1]);
        assert!(bad[2].starts_with("line 3, column 3 (priority): \"x\""), "{}", bad[2]);
        assert!(bad[3].starts_with("line 6, column 1 (tenant_id)"), "{}", bad[3]);
    }

    #[test]
    fn columns_that_mean_nothing_are_not_passed_over() {
        let bad = read(&format!("tenant_id,domian\n{A},x.example\n")).unwrap_err();
        assert!(bad[0].contains("column 2 (header): \"domian\": unknown column"), "{}", bad[0]);
        let bad = read(&format!("tenant_id\n{A},x.example\n")).unwrap_err();
        assert!(bad[0].contains("column 2 (surplus)"), "{}", bad[0]);
        let bad = read("id,domain\n").unwrap_err();
        assert!(bad[0].starts_with("line 1, column 1 (tenant_id): \"id\""), "{}", bad[0]);
    }

    #[test]
    fn json_lines_are_understood() {
        let text = format!(
            "{{\"tenant_id\":\"{A}\",\"priority\":3,\"batch\":null}}\n\n{{\"customer\":\"{B}\"}}\n"
        );
        let entries = read(&text).unwrap();
        assert_eq!(lines(&entries), [(1, A.to_owned()), (3, B.to_owned())]);
        assert_eq!(entries[0].priority, Some(3));
        let bad = read(&format!("{{\"tenant\":\"{A}\"}}\n{{\"tenant\":\n{{\"color\":1}}\n{{}}\n"))
            .unwrap_err();
        assert_eq!(bad.len(), 3, "{bad:?}");
        assert!(
            bad[0].starts_with("line 2, column") && bad[1].contains("unknown field"),
            "{bad:?}"
        );
    }

    #[test]
    fn other_encodings_are_named_as_such() {
        let bad = read_rows(b"tenant\n\xff\xfe", Timestamp::UNIX_EPOCH).unwrap_err();
        assert!(bad[0].to_string().starts_with("line 2: "), "{}", bad[0]);
        assert!(bad[0].to_string().contains("not UTF-8"), "{}", bad[0]);
    }
}
