//! What a check came to, as one line: the check, its outcome, what was found, and what to do about it.

use serde::Serialize;

use crate::failure::Failure;
use crate::secret_text::without_keys;
use crate::visible_text::visible;

/// Characters of each part of a finding: longer than any command that it prints.
const PART_MAX: usize = 2000;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// All is well.
    Ok,
    /// Something has to be done.
    Problem,
    /// Nothing has to be done, and it may help to know.
    Hint,
    /// What it rests on is missing.
    NotChecked,
}

/// A line of the report. Its texts are one line each and show no key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check's name, which never changes its meaning.
    pub check: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// What was found.
    pub found: String,
    /// What to do, with the command where there is one.
    pub remedy: Option<String>,
}

impl Finding {
    /// All is well.
    pub fn ok(check: &'static str, found: impl AsRef<str>) -> Self {
        Self::new(check, Outcome::Ok, found.as_ref(), None)
    }

    /// Something has to be done.
    pub fn problem(check: &'static str, found: impl AsRef<str>, remedy: impl AsRef<str>) -> Self {
        Self::new(check, Outcome::Problem, found.as_ref(), Some(remedy.as_ref()))
    }

    /// Something that may help to know, and what to do for who cares.
    pub fn hint(check: &'static str, found: impl AsRef<str>, remedy: Option<&str>) -> Self {
        Self::new(check, Outcome::Hint, found.as_ref(), remedy)
    }

    /// What the check rests on is missing.
    pub fn not_checked(check: &'static str, why: impl AsRef<str>) -> Self {
        Self::new(check, Outcome::NotChecked, &format!("not checked: {}", why.as_ref()), None)
    }

    /// A failure as a problem.
    #[must_use]
    pub fn of_failure(check: &'static str, failure: &Failure) -> Self {
        let [what, place, remedy] = failure.parts();
        let found = if place.is_empty() { what } else { format!("{what} ({place})") };
        Self::problem(check, found, remedy)
    }

    fn new(check: &'static str, outcome: Outcome, found: &str, remedy: Option<&str>) -> Self {
        Self { check, outcome, found: in_line(found), remedy: remedy.map(in_line) }
    }
}

fn in_line(text: &str) -> String {
    // What stood on two lines stays two words.
    let text = visible(&text.replace(char::is_control, " "));
    without_keys(text.trim()).chars().take(PART_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::Finding;

    #[test]
    fn a_part_is_one_line_in_which_nothing_is_hidden() {
        let finding =
            Finding::problem("key", "one\ntwo\u{9b}2J\u{202e}three\u{200b}", "\u{feff}do\u{e0041} it\n");
        assert_eq!((finding.found.as_str(), finding.remedy.as_deref()), ("one two 2Jthree", Some("do it")));
    }
}
