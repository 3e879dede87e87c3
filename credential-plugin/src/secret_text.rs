//! What looks like an API key is never shown, wherever the text came from: an argument, a server, a file name.

/// Letters and digits after the underscore from which on a word counts as a key. A whole key has 49; a few lost ones
/// do not make it public.
const KEY_BODY_MIN: usize = 40;

/// The text with the body of everything that looks like a key replaced by `[redacted]`.
#[must_use]
pub fn without_keys(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('_') {
        shown.push_str(before);
        shown.push('_');
        let body_len = after.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(after.len());
        let typed = before.chars().next_back().is_some_and(|c| c.is_ascii_lowercase());
        rest = if typed && body_len >= KEY_BODY_MIN {
            shown.push_str("[redacted]");
            after.get(body_len..).unwrap_or_default()
        } else {
            after
        };
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use super::without_keys;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_key_survives_whatever_surrounds_it(
            before in "[ -~]{0,30}",
            key in "[a-z]{2,8}_[0-9A-Za-z]{49}",
            after in "[ -~]{0,30}",
        ) {
            let shown = without_keys(&format!("{before}{key}{after}"));
            let body = key.split_once('_').map(|(_, body)| body.to_owned()).unwrap_or_default();
            prop_assert!(!shown.contains(&body));
        }

        #[test]
        fn text_without_a_long_word_stays_as_it_is(text in "([ -~&&[^_]]{0,20}_[a-z0-9]{0,20} ){0,6}") {
            prop_assert_eq!(without_keys(&text), text);
        }
    }
}
