//! Laying out what is printed: wrapped to the width of the terminal, readable at 80 columns.

use std::fmt::Write as _;

/// Columns to write for: those of the terminal on standard output, at most 120; 80 where it is none.
pub(crate) fn columns() -> usize {
    let stdout = std::io::stdout();
    rustix::termios::tcgetwinsize(&stdout)
        .map(|size| usize::from(size.ws_col))
        .ok()
        .filter(|columns| *columns > 0)
        .map_or(COLUMNS_DEFAULT, |columns| {
            columns.clamp(COLUMNS_LEAST, COLUMNS_MOST)
        })
}

/// Appends `label` and `text` to `out`: the label at `indent`, the text beside it and wrapped under itself from
/// `hanging` on. Words longer than the room stand on a line of their own.
pub(crate) fn entry(
    out: &mut String,
    indent: usize,
    label: &str,
    hanging: usize,
    text: &str,
    columns: usize,
) {
    let mut line = format!("{:indent$}{label}", "");
    let room = |line: &str, word: &str| line.chars().count() + 1 + word.chars().count() <= columns;
    let mut is_fresh = true;
    for word in text.split_whitespace() {
        if is_fresh {
            let gap = hanging.saturating_sub(line.chars().count());
            let _ = write!(line, "{:gap$}{word}", "");
            is_fresh = false;
        } else if room(&line, word) {
            let _ = write!(line, " {word}");
        } else {
            out.push_str(line.trim_end());
            out.push('\n');
            line = format!("{:hanging$}{word}", "");
        }
    }
    out.push_str(line.trim_end());
    out.push('\n');
}

const COLUMNS_DEFAULT: usize = 80;
const COLUMNS_LEAST: usize = 60;
const COLUMNS_MOST: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_under_itself() {
        let mut out = String::new();
        entry(
            &mut out,
            2,
            "why",
            8,
            "one two three four five six seven eight",
            20,
        );
        assert_eq!(
            out,
            "  why   one two\n        three four\n        five six\n        seven eight\n"
        );
    }

    #[test]
    fn a_label_longer_than_its_room_keeps_a_space_to_the_text() {
        let mut out = String::new();
        entry(&mut out, 0, "label ", 4, "word", 80);
        assert_eq!(out, "label word\n");
    }
}
