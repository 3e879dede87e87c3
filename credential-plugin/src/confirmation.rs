//! What cannot be taken back is done only when somebody typed its name.

use std::io::{self, BufRead, IsTerminal as _, Write};

use crate::failure::{Failure, FailureKind};
use crate::visible_text::visible;

/// What is to be confirmed.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The name that confirms it.
    pub name: &'a str,
    /// What will happen, as a sentence.
    pub what: &'a str,
    /// What is done, such as `revoke`.
    pub verb: &'a str,
}

impl Question<'_> {
    /// Says on the terminal what will happen, and asks for the name.
    ///
    /// # Errors
    /// [`FailureKind::Usage`] for another answer, and when nobody is there to answer.
    pub fn ask(self, terminal: &mut impl Write) -> Result<(), Failure> {
        if io::stdin().is_terminal() {
            return self.ask_of(&mut io::stdin().lock(), terminal);
        }
        Err(self
            .not_confirmed("nobody is there to confirm it", "run the command on a terminal, or give --yes"))
    }

    fn ask_of(self, answers: &mut impl BufRead, terminal: &mut impl Write) -> Result<(), Failure> {
        let mut asked = || -> io::Result<String> {
            writeln!(terminal, "{}", visible(self.what))?;
            write!(terminal, "Type its name to {} it: ", self.verb)?;
            terminal.flush()?;
            let mut line = String::new();
            answers.read_line(&mut line)?;
            Ok(line)
        };
        if asked().map_err(|error| Failure::output(&error))?.trim() == self.name {
            return Ok(());
        }
        Err(self.not_confirmed("the name was not typed", "run the command again, or give --yes"))
    }

    fn not_confirmed(self, why: &str, remedy: &str) -> Failure {
        let what = format!("{why}: {} did nothing", self.verb);
        Failure::new(FailureKind::Usage, what, self.name, remedy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_name_confirms() {
        for (answer, confirms) in [
            ("ci\n", true),
            ("ci\r\n", true),
            ("y\n", false),
            ("", false),
            ("\n", false),
            ("CI\n", false),
            ("cia\n", false),
        ] {
            let mut told = Vec::new();
            let question = Question { name: "ci", what: "ApiKey ci\u{1b} ends.", verb: "revoke" };
            assert_eq!(question.ask_of(&mut answer.as_bytes(), &mut told).is_ok(), confirms, "{answer:?}");
            assert_eq!(String::from_utf8(told).unwrap(), "ApiKey ci ends.\nType its name to revoke it: ");
        }
    }
}
