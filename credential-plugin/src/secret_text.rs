//! What looks like an API key is never shown, wherever the text came from: an argument, a server, a file name.

/// Letters and digits after a key's type from which on a word counts as a key. A few lost ones do not make it public.
const KEY_BODY_MIN: usize = 40;
/// Letters and digits of a whole key's body. A word of just as many is taken for one, whatever stands before it.
const KEY_BODY: usize = 49;
/// A type with a mistyped underscore.
const MISTYPED: &str = "kpk-";
const REDACTED: &str = "[redacted]";

/// The text with the body of everything that looks like a key replaced by `[redacted]`.
#[must_use]
pub fn without_keys(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut done = 0;
    while let Some(rest) = text.get(done..).filter(|rest| !rest.is_empty()) {
        let start = done + rest.find(|c: char| c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let (before, word) = text.split_at(start);
        let end = start + word.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(word.len());
        let (word, after) = text.get(start..).unwrap_or_default().split_at(end - start);
        shown.push_str(text.get(done..start).unwrap_or_default());
        shown.push_str(if is_key_body(before, word, after) { REDACTED } else { word });
        done = end;
    }
    shown
}

/// Whether a word of letters and digits is a key's body, by what stands before and after it.
fn is_key_body(before: &str, word: &str, after: &str) -> bool {
    let typed = before.strip_suffix('_').is_some_and(|kind| kind.ends_with(|c: char| c.is_ascii_lowercase()));
    // What goes on with these is a piece of base64: a certificate or a token has pieces of any length.
    let goes_on = |c: char| matches!(c, '+' | '/' | '-' | '_');
    ((typed || before.ends_with(MISTYPED)) && word.len() >= KEY_BODY_MIN)
        || (word.len() == KEY_BODY && !before.ends_with(goes_on) && !after.starts_with(goes_on))
}

/// A proxy's URL without who logs in there: all that stands before its last `@` is hidden, but for the scheme.
#[must_use]
pub fn without_userinfo(url: &str) -> String {
    let Some((before, host)) = url.rsplit_once('@') else { return url.to_owned() };
    match before.split_once("://") {
        Some((scheme, _)) => format!("{scheme}://{REDACTED}@{host}"),
        None => format!("{REDACTED}@{host}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{without_keys, without_userinfo};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_key_survives_whatever_surrounds_it(
            before in "[ -~]{0,30}",
            kind in "[a-z]{2,8}_|kpk-",
            body in "[0-9A-Za-z]{49}",
            after in "[ -~]{0,30}",
        ) {
            let shown = without_keys(&format!("{before}{kind}{body}{after}"));
            prop_assert!(!shown.contains(&body));
        }

        #[test]
        fn a_key_that_lost_some_letters_is_hidden_all_the_same(kind in "kpk_|kpk-", body in "[0-9A-Za-z]{40,60}") {
            prop_assert_eq!(without_keys(&format!("{kind}{body}")), format!("{kind}[redacted]"));
        }

        #[test]
        fn a_body_that_stands_alone_is_hidden(
            before in "([ -~]{0,30}[ '\"=:,.(\\[<])?",
            body in "[0-9A-Za-z]{49}",
            after in "([ '\"=:,.)\\]>][ -~]{0,30})?",
        ) {
            let shown = without_keys(&format!("{before}{body}{after}"));
            prop_assert!(!shown.contains(&body), "{}", shown);
        }

        #[test]
        fn a_word_of_another_length_is_no_body(word in "[0-9A-Za-z]{1,48}|[0-9A-Za-z]{50,64}") {
            for text in [format!("'{word}'"), format!("a {word} b"), word] {
                prop_assert_eq!(without_keys(&text), text);
            }
        }

        #[test]
        fn a_piece_of_base64_is_no_body(
            word in "[0-9A-Za-z]{49}",
            mark in "[-+/_]",
            rest in "[0-9A-Z]{1,20}",
        ) {
            for text in [format!("{word}{mark}{rest}"), format!("{rest}{mark}{word}")] {
                prop_assert_eq!(without_keys(&text), text);
            }
        }

        #[test]
        fn text_without_a_long_word_stays_as_it_is(text in "([ -~&&[^_]]{0,20}_[a-z0-9]{0,20} ){0,6}|\\PC{0,30}") {
            prop_assert_eq!(without_keys(&text), text);
        }

        #[test]
        fn a_proxy_is_told_without_who_logs_in_there(
            scheme in "(https?://|socks5://)?",
            userinfo in "[!-~]{1,20}",
            host in "[a-z.]{1,12}:[0-9]{1,4}",
        ) {
            prop_assert_eq!(without_userinfo(&format!("{scheme}{host}")), format!("{scheme}{host}"));
            // Without a scheme of its own, what is before :// in the login would be taken for one.
            prop_assume!(!userinfo.contains("://"));
            let shown = without_userinfo(&format!("{scheme}{userinfo}@{host}"));
            prop_assert_eq!(shown, format!("{scheme}[redacted]@{host}"));
        }
    }
}
