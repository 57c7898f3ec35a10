//! What others have written, made fit for a terminal: their bytes never steer it, and never push a column aside.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// A text in which nothing is left that a terminal obeys: control characters become their pictures, and what takes no room (marks
/// that turn the direction of writing, or pile up on a letter) is left out.
pub(crate) fn text(of: &str) -> String {
    of.chars().filter_map(shown).collect()
}

fn shown(letter: char) -> Option<char> {
    match letter {
        '\n' => Some('↵'),
        '\t' => Some(' '),
        '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(letter)),
        '\x7f' => Some('␡'),
        letter if letter.is_control() => Some(char::REPLACEMENT_CHARACTER),
        letter => (letter.width() != Some(0)).then_some(letter),
    }
}

/// All of these bytes on one line: what a terminal obeys or does not show, and what is not UTF-8, as escapes.
pub(crate) fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    for piece in bytes.utf8_chunks() {
        for letter in piece.valid().chars() {
            match letter.is_control() || letter.width() == Some(0) {
                true => text.extend(letter.escape_default()),
                false => text.push(letter),
            }
        }
        text.extend(piece.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text
}

/// The beginning of so many bytes, without the part of a letter at which it was cut: that does not make bytes of a text.
pub(crate) fn whole_letters(beginning: &[u8], len: usize) -> &[u8] {
    match str::from_utf8(beginning) {
        Err(error) if error.error_len().is_none() && beginning.len() < len => &beginning[..error.valid_up_to()],
        _ => beginning,
    }
}

/// A path, on one line.
pub(crate) fn path(of: &Path) -> String {
    escaped(of.as_os_str().as_bytes())
}

/// The beginning of a message's body: as text if it is UTF-8, otherwise its bytes in hexadecimal.
pub(crate) fn body(bytes: &[u8]) -> String {
    let beginning = whole_letters(&bytes[..bytes.len().min(BEGINNING)], bytes.len());
    match str::from_utf8(beginning) {
        Ok(whole) => text(whole),
        Err(_) => beginning.iter().map(|byte| format!("{byte:02x} ")).collect::<String>().trim_end().to_owned(),
    }
}

/// More of a body fits into no line: bytes.
const BEGINNING: usize = 1024;

/// How many columns a text takes.
pub(crate) fn width(of: &str) -> usize {
    of.width()
}

/// The beginning of a text that fits into so many columns, with `…` where something is missing.
pub(crate) fn cut(of: &str, columns: usize) -> String {
    if width(of) <= columns {
        return of.to_owned();
    }
    let mut beginning = String::new();
    for letter in of.chars() {
        beginning.push(letter);
        if width(&beginning) + 1 > columns {
            beginning.pop();
            break;
        }
    }
    if columns > 0 {
        beginning.push('…');
    }
    beginning
}

/// A text in exactly so many columns, cut or with spaces behind it.
pub(crate) fn left(of: &str, columns: usize) -> String {
    let text = cut(of, columns);
    let room = columns - width(&text);
    text + &" ".repeat(room)
}

/// The same, with the spaces before it.
pub(crate) fn right(of: &str, columns: usize) -> String {
    let text = cut(of, columns);
    " ".repeat(columns - width(&text)) + &text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_escaped_stays_on_its_line_and_loses_nothing() {
        assert_eq!(escaped("plain ü".as_bytes()), "plain ü");
        assert_eq!(escaped(b"a\nb\t\x1b[31m\xff\0"), "a\\nb\\t\\u{1b}[31m\\xff\\u{0}");
        assert_eq!(escaped("pay\u{202e}fdp".as_bytes()), "pay\\u{202e}fdp");
    }

    #[test]
    fn nothing_is_left_that_a_terminal_obeys() {
        assert_eq!(text("a\x1b[31mred\x07\r\n\tb\x7f"), "a␛[31mred␇␍↵ b␡");
        assert_eq!(text("\u{9b}31m"), "\u{fffd}31m", "the eight-bit introducer");
        assert_eq!(text("pay\u{202e}fdp.exe\u{200b}"), "payfdp.exe", "turned around, and nothing at all");
        assert_eq!(text("Z\u{351}\u{351}\u{351}algo, 漢字"), "Zalgo, 漢字");
        for letter in (0..=0x10_ffff).filter_map(char::from_u32) {
            let shown = text(&letter.to_string());
            assert!(
                shown.is_empty() || width(&shown) > 0 && !shown.contains(char::is_control),
                "{letter:?}: {shown:?}"
            );
        }
    }

    #[test]
    fn bodies_are_text_or_bytes_and_a_cut_letter_is_no_reason_for_bytes() {
        assert_eq!(body(b"run the tests\n"), "run the tests↵");
        assert_eq!(body(&[0xff, 0x00, 0x1b]), "ff 00 1b");
        let long = "é".repeat(BEGINNING);
        assert_eq!(body(format!("x{long}").as_bytes()), format!("x{}", "é".repeat(BEGINNING / 2 - 1)));
        assert_eq!(body(b"x\xc3"), "78 c3", "cut by its sender");
    }

    #[test]
    fn what_is_cut_takes_the_columns_that_there_are() {
        assert_eq!(cut("backend", 7), "backend");
        assert_eq!(cut("backend", 6), "backe…");
        assert_eq!(cut("漢字漢字", 6), "漢字…");
        assert_eq!((cut("backend", 1), cut("backend", 0)), ("…".to_owned(), String::new()));
        assert_eq!((left("漢字漢字", 6), right("漢", 6)), ("漢字… ".to_owned(), "    漢".to_owned()));
        for columns in 0..12 {
            assert_eq!((width(&left("a漢字b", columns)), width(&right("a漢字b", columns))), (columns, columns));
        }
    }
}
