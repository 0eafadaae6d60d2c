//! Text of strangers on a terminal: names, annotations, histories and answers may hold characters
//! that a terminal obeys, or that make a text look like another (rule T8).

/// A text with nothing in it that a terminal would obey, on one line.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if is_obeyed(c) {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    safe
}

/// Whether a terminal or a reader's eye is led astray by a character: controls of C0 and C1, line
/// and paragraph separators, what turns the direction of writing, and what has no width.
pub fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_speaks_to_the_terminal_or_turns_the_line() {
        for (text, shown) in [
            ("plain, caf\u{e9}, \u{65e5}\u{672c}", "plain, caf\u{e9}, \u{65e5}\u{672c}"),
            ("a\x1b[31mb\x07\x7f", "a\\u{1b}[31mb\\u{7}\\u{7f}"),
            ("a\nb\tc\r", "a\\nb\\tc\\r"),
            ("a\u{9b}31m", "a\\u{9b}31m"),
            ("exe.\u{202e}gpj", "exe.\\u{202e}gpj"),
            (
                "\u{2066}a\u{2069}\u{200b}\u{2028}\u{feff}",
                "\\u{2066}a\\u{2069}\\u{200b}\\u{2028}\\u{feff}",
            ),
        ] {
            assert_eq!(escape(text), shown);
            assert_eq!(escape(&escape(text)), shown, "what is escaped stays as it is");
        }
    }
}
