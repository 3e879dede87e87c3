//! Texts of others on a terminal: what cannot be seen, or changes how the rest is seen, is left out.

/// Whether a character is a control character, or a format character that hides or turns what stands beside it: zero width,
/// text direction (`Bidi_Control` of Unicode), line and paragraph separators, soft hyphens, tags.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// The text without what [is hidden](is_hidden).
#[must_use]
pub fn visible(text: &str) -> String {
    text.chars().filter(|&c| !is_hidden(c)).collect()
}

#[cfg(test)]
mod tests {
    use super::visible;

    #[test]
    fn what_hides_or_turns_text_is_left_out_and_letters_of_all_languages_stay() {
        assert_eq!(visible("a\u{1b}[2Jb\n\u{202e}c\u{200b}\u{2028}\u{feff}\u{e0041}d"), "a[2Jbcd");
        assert_eq!(visible("Schlüssel für 東京 – ключ"), "Schlüssel für 東京 – ключ");
    }
}
