//! Reading comma-separated values (RFC 4180, with `\n` or `\r\n`): cells by row, with the line of each row.

/// A row: the line it starts in, from 1, and its cells.
pub(super) type Row = (usize, Vec<String>);

/// Why a text is no CSV, and in which line.
pub(super) type Fault = (usize, &'static str);

/// The rows that are not empty.
pub(super) fn rows(text: &str) -> Result<Vec<Row>, Fault> {
    let mut rows = Vec::new();
    let mut chars = text.chars().peekable();
    let mut line = 1;
    while chars.peek().is_some() {
        let start = line;
        let mut cells = Vec::new();
        loop {
            let mut cell = String::new();
            if chars.next_if_eq(&'"').is_some() {
                loop {
                    match chars.next() {
                        None => return Err((start, "a quoted cell never ends")),
                        Some('"') if chars.next_if_eq(&'"').is_some() => cell.push('"'),
                        Some('"') => break,
                        Some(other) => {
                            line += usize::from(other == '\n');
                            cell.push(other);
                        }
                    }
                }
                if !matches!(chars.peek(), None | Some(',' | '\n' | '\r')) {
                    return Err((start, "a quoted cell is followed by more text"));
                }
            } else {
                while let Some(other) = chars.next_if(|c| !matches!(c, ',' | '\n')) {
                    cell.push(other);
                }
                if cell.ends_with('\r') {
                    cell.pop();
                }
            }
            cells.push(cell);
            chars.next_if_eq(&'\r');
            match chars.next() {
                Some(',') => {}
                Some(_) => {
                    line += 1;
                    break;
                }
                None => break,
            }
        }
        if cells.iter().any(|cell| !cell.trim().is_empty()) {
            rows.push((start, cells));
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::rows;

    #[test]
    fn cells_are_read_with_quotes_and_line_numbers() {
        let text = "a,b\r\n\n\"x, \"\"y\"\"\n2\",\nlast,row";
        let expected = vec![
            (1, vec!["a".to_owned(), "b".to_owned()]),
            (3, vec!["x, \"y\"\n2".to_owned(), String::new()]),
            (5, vec!["last".to_owned(), "row".to_owned()]),
        ];
        assert_eq!(rows(text), Ok(expected));
        assert_eq!(rows("a\n\"b"), Err((2, "a quoted cell never ends")));
        assert_eq!(rows("\"b\"c"), Err((1, "a quoted cell is followed by more text")));
    }
}
