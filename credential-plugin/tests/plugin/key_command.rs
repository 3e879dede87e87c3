//! The key command: when it runs, what counts of what it prints, and each way in which it fails.

use std::fs;
use std::path::Path;

use keyplane_credential_plugin::key_source::words;
use proptest::prelude::*;

use crate::kept_key::{accepting, shows_no_key, text};
use crate::played::{Play, calls, program};
use crate::stage::{Stage, credential, failure, new_key};

impl Stage {
    /// A key command that runs these lines of a script, and leaves a line in `runs` each time.
    fn counted(&self, body: &str) -> String {
        platform::counted(self, &self.path("runs"), body)
    }

    fn runs(&self) -> usize {
        fs::read_to_string(self.path("runs")).map_or(0, |text| text.lines().count())
    }
}

#[test]
fn the_command_runs_once_for_many_warm_starts() {
    let (stage, exchange) = (Stage::new(), accepting());
    let counted = stage.counted(&format!("echo {}", stage.key));
    let get_token = || {
        let mut command = stage.command("get-token", &exchange);
        command.args(["--key-command", &counted]);
        command
    };
    for _ in 0..10 {
        credential(&get_token().output().unwrap());
    }
    assert_eq!((stage.runs(), exchange.asked().len()), (1, 1));
    // Without a cache there is no note either.
    for _ in 0..2 {
        credential(&get_token().arg("--no-cache").output().unwrap());
    }
    assert_eq!((stage.runs(), exchange.asked().len()), (3, 3));
}

#[test]
fn a_command_that_gives_another_key_fills_the_slot_of_that_key() {
    let (stage, exchange) = (Stage::new(), accepting());
    let file = stage.file("key", &stage.key, 0o600);
    let get_token = || {
        let mut command = stage.command("get-token", &exchange);
        command.args(["--key-command", &Stage::prints(&file)]);
        credential(&command.output().unwrap());
    };
    get_token();
    let other = new_key();
    fs::write(&file, &other).unwrap();
    // While the token lives nobody asks; when it is gone the new key is the one that is used, and known afterwards.
    get_token();
    assert_eq!(exchange.asked().len(), 1);
    for token in crate::stage::files_in(&stage.cache_folder()) {
        if token.extension().is_some_and(|extension| extension == "json") {
            fs::remove_file(token).unwrap();
        }
    }
    get_token();
    get_token();
    let asked = exchange.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[1].header("x-api-key"), Some(other.as_str()));
    let mut command = stage.command("get-token", &exchange);
    credential(&command.env("KEYPLANE_API_KEY", &stage.key).output().unwrap());
    assert_eq!(exchange.asked().len(), 3, "the first key's slot holds nothing of the second's");
}

#[test]
fn the_first_line_is_the_key_and_standard_error_is_the_users() {
    let exchange = accepting();
    for (printed, says) in [
        ("KEY", ""),
        ("KEY\n", ""),
        ("KEY\r\n", ""),
        ("KEY\nuser: ci\nurl: x\n", ""),
        ("KEY\r\nuser: ci\r\n", ""),
        ("KEY\n", "asks you\n"),
    ] {
        let stage = Stage::new();
        let prints = &printed.replace("KEY", &stage.key);
        let pass = program(stage.home.path(), "pass", &[Play { prints, says, ..Play::default() }]);
        let mut command = stage.command("get-token", &exchange);
        let output = command.args(["--key-command", pass.to_str().unwrap()]).output().unwrap();
        assert!(output.status.success(), "{printed:?}: {output:?}");
        assert_eq!(text(&output.stderr), says);
        assert_eq!(exchange.asked().last().unwrap().header("x-api-key"), Some(stage.key.as_str()));
    }
}

#[test]
fn much_output_after_the_key_does_not_break_the_command() {
    let (stage, exchange) = (Stage::new(), accepting());
    let much = stage.file("much", &"\n".repeat(1_000_000), 0o600);
    let shows = Some(Path::new(&much));
    let pass = program(stage.home.path(), "pass", &[Play { prints: &stage.key, shows, ..Play::default() }]);
    let mut command = stage.command("get-token", &exchange);
    credential(&command.args(["--key-command", pass.to_str().unwrap()]).output().unwrap());
}

#[test]
fn words_are_split_at_blanks_and_held_together_by_quotes_and_no_shell_runs() {
    let (stage, exchange) = (Stage::new(), accepting());
    let of_two_words = Play { first: Some("a folder"), prints: &stage.key, ..Play::default() };
    let pass = program(stage.home.path(), "pass", &[of_two_words]);
    let path = pass.display();
    for words in ["'a folder'", "\"a folder\" x", "\ta' 'folder\t"] {
        let text = format!("{path} {words}");
        let mut command = stage.command("get-token", &exchange);
        credential(&command.args(["--no-cache", "--key-command", &text]).output().unwrap());
    }
    let text = format!("{path} 'a folder' > stolen | y && z");
    let mut command = stage.command("get-token", &exchange);
    credential(&command.args(["--no-cache", "--key-command", &text]).output().unwrap());
    assert!(calls(&pass).ends_with("\na folder > stolen | y && z\n"), "{}", calls(&pass));
    assert!(!stage.path("stolen").exists());
    for text in ["", " ", "pass 'a", "''"] {
        let line = failure(
            &stage.command("get-token", &exchange).args(["--key-command", text]).output().unwrap(),
            2,
        );
        assert!(line.contains("--key-command"), "{line}");
    }
}

#[test]
fn each_failure_of_the_command_is_told_and_shows_no_key() {
    let (stage, exchange) = (Stage::new(), accepting());
    let key = &stage.key;
    let mistyped = format!("{}{}\n", &key[..key.len() - 1], if key.ends_with('x') { 'y' } else { 'x' });
    let cases: [(&str, i32, &str); 7] = [
        ("", 7, platform::EXIT_7),
        (key, 1, "the key command failed: exit "),
        ("", 0, "printed no key"),
        ("\nkey\n", 0, "printed no key"),
        ("hello\n", 0, "--key-command"),
        (&mistyped, 0, "--key-command"),
        (&format!(" {key}\n"), 0, "--key-command"),
    ];
    for (prints, code, words) in cases {
        let pass = program(stage.home.path(), "pass", &[Play { prints, code, ..Play::default() }]);
        let mut command = stage.command("get-token", &exchange);
        let output = command.args(["--no-cache", "--key-command", pass.to_str().unwrap()]).output().unwrap();
        let line = failure(&output, 3);
        assert!(line.contains(words), "{prints}: {line}");
        shows_no_key(&output, key);
    }
    fs::write(stage.path("no-text"), b"\xff\n").unwrap();
    let prints = Stage::prints(stage.path("no-text").to_str().unwrap());
    let mut command = stage.command("get-token", &exchange);
    let line = failure(&command.args(["--key-command", &prints]).output().unwrap(), 3);
    assert!(line.contains("is not text"), "{line}");
    let mut command = stage.command("get-token", &exchange);
    let line = failure(&command.args(["--key-command", "no-such-program --x"]).output().unwrap(), 3);
    assert!(line.contains("cannot be started") && line.contains("no-such-program"), "{line}");
    assert!(exchange.asked().is_empty());
}

#[cfg(unix)]
#[test]
fn a_command_that_does_not_end_is_ended() {
    let (stage, exchange) = (Stage::new(), accepting());
    // One keeps its output open, the other has closed it.
    for body in ["exec sleep 600", "exec >&-; exec sleep 600"] {
        let counted = stage.counted(&format!("echo $$ > '{}'\n{body}", stage.path("pid").display()));
        let mut command = stage.command("get-token", &exchange);
        command.args(["--key-command-timeout", "1", "--key-command", &counted]);
        let line = failure(&command.output().unwrap(), 3);
        assert!(line.contains("did not end within 1 s") && line.contains("--key-command-timeout"), "{line}");
        let pid = fs::read_to_string(stage.path("pid")).unwrap();
        assert!(!std::path::Path::new("/proc").join(pid.trim()).exists(), "{body}: it is still there");
    }
}

/// A program that runs cannot be deleted here.
#[cfg(windows)]
#[test]
fn a_command_that_does_not_end_is_ended() {
    let (stage, exchange) = (Stage::new(), accepting());
    let pass = program(stage.home.path(), "pass", &[Play { hangs: true, ..Play::default() }]);
    let mut command = stage.command("get-token", &exchange);
    command.args(["--key-command-timeout", "1", "--key-command", pass.to_str().unwrap()]);
    let line = failure(&command.output().unwrap(), 3);
    assert!(line.contains("did not end within 1 s") && line.contains("--key-command-timeout"), "{line}");
    crate::parallel::until("it is gone", || fs::remove_file(&pass).is_ok());
}

/// Package managers install some programs as batch files; their arguments are quoted as `cmd` needs it.
#[cfg(windows)]
#[test]
fn a_batch_file_on_path_is_started_by_its_whole_name() {
    let (stage, exchange) = (Stage::new(), accepting());
    stage.file("getkey.cmd", &format!("@echo {}\r\n@echo %1>args\r\n", stage.key), 0o600);
    let run = |text: &str| {
        let mut command = stage.command("get-token", &exchange);
        command.env("PATH", stage.home.path()).args(["--no-cache", "--key-command", text]);
        command.output().unwrap()
    };
    credential(&run("getkey.cmd 'x&echo>stolen'"));
    assert!(!stage.path("stolen").exists());
    let line = failure(&run("getkey x"), 3);
    assert!(line.contains("cannot be started") && line.contains(".cmd"), "{line}");
}

#[test]
fn a_note_that_is_wrong_in_any_way_is_no_note() {
    let (stage, exchange) = (Stage::new(), accepting());
    let counted = stage.counted(&format!("echo {}", stage.key));
    let get_token = || {
        let mut command = stage.command("get-token", &exchange);
        command.args(["--key-command", &counted]);
        credential(&command.output().unwrap());
    };
    get_token();
    let note = &stage.cache_file_ending("key-command");
    let content = fs::read_to_string(note).unwrap();
    assert!(!content.contains(&stage.key[4..]) && crate::stage::has_mode(note, 0o600), "{content}");
    for (count, damage) in
        ["", "{}", "null", &content.replace("\"id\":\"", "\"id\":\"0"), &content[..20]].iter().enumerate()
    {
        fs::write(note, damage).unwrap();
        get_token();
        assert_eq!(stage.runs(), count + 2, "{damage}");
    }
    assert_eq!(exchange.asked().len(), 1, "the token was there all the time");
}

#[test]
fn a_backslash_and_a_hash_mean_themselves() {
    let (stage, exchange) = (Stage::new(), accepting());
    let pass = program(stage.home.path(), "pass", &[Play { prints: &stage.key, ..Play::default() }]);
    let text = format!("{} C:\\tools\\x #prod \\\\server\\share\\", pass.display());
    credential(&stage.command("get-token", &exchange).args(["--key-command", &text]).output().unwrap());
    assert_eq!(calls(&pass), "C:\\tools\\x #prod \\\\server\\share\\\n");
}

#[test]
fn a_program_of_a_relative_path_is_refused_and_not_run() {
    let (stage, exchange) = (Stage::new(), accepting());
    let getkey = program(stage.home.path(), "getkey", &[Play { prints: &stage.key, ..Play::default() }]);
    for text in ["./getkey", "'./getkey' x"].iter().chain(platform::RELATIVE) {
        for by_argument in [true, false] {
            let mut command = stage.command("get-token", &exchange);
            if by_argument {
                command.args(["--key-command", text]);
            } else {
                command.env("KEYPLANE_KEY_COMMAND", text);
            }
            let line = failure(&command.output().unwrap(), 2);
            assert!(line.contains("is a relative path") && line.contains("PATH"), "{line}");
        }
    }
    assert_eq!(calls(&getkey), "");
    let whole = getkey.display().to_string();
    credential(&stage.command("get-token", &exchange).args(["--key-command", &whole]).output().unwrap());
}

#[test]
fn a_kubeconfig_calls_a_relative_program_by_its_whole_path() {
    let stage = Stage::new();
    let command_of = |text: &str| {
        let mut command = stage.plugin();
        command.args(["kubeconfig", "--cluster", "prod", "--cluster-server", "https://api.example"]);
        command.args(["--server", "https://exchange.example", "--key-command", text]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let config: serde_json::Value =
            serde_saphyr::from_str(&crate::kept_key::text(&output.stdout)).unwrap();
        let args = config["users"][0]["user"]["exec"]["args"].as_array().unwrap().clone();
        let at = args.iter().position(|arg| arg == "--key-command").unwrap();
        args[at + 1].as_str().unwrap().to_owned()
    };
    let folder = platform::seen_from_within(stage.home.path());
    let words = words::split(&command_of("./bin/getkey  'a b' #x C:\\y")).unwrap();
    assert_eq!(words, [folder.join("bin").join("getkey").to_str().unwrap(), "a b", "#x", "C:\\y"]);
    for text in platform::WHOLE {
        assert_eq!(command_of(text), *text);
    }
}

#[test]
fn the_command_does_not_inherit_a_key() {
    let (stage, exchange) = (Stage::new(), accepting());
    let other = new_key();
    let counted = stage.counted(&platform::unless_set("KEYPLANE_API_KEY", &format!("echo {}", stage.key)));
    let mut command = stage.command("login", &exchange);
    command.env("KEYPLANE_API_KEY", &other).args(["--store", "file", "--key-command", &counted]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(exchange.asked()[0].header("x-api-key"), Some(stage.key.as_str()));
}

proptest! {
    #[test]
    fn words_come_back_as_they_were_quoted(
        given in proptest::collection::vec("\\PC*|[ '\"\\\\#a\t\n]*", 0..6),
        blank in "[ \t\n]{1,3}",
    ) {
        let text: Vec<String> = given.iter().map(|word| words::quoted(word)).collect();
        let text = text.join(&blank);
        prop_assert_eq!(words::split(&text), Some(given.clone()));
        if let Some((first, rest)) = given.split_first() {
            let other = format!("/a b/{first}");
            let changed = words::with_program(&text, &other).and_then(|text| words::split(&text)).unwrap();
            prop_assert_eq!(&changed[0], &other);
            prop_assert_eq!(&changed[1..], rest);
        }
    }

    #[test]
    fn without_quotes_the_words_are_what_stands_between_blanks(text in "[^'\"]*") {
        let words: Vec<String> =
            text.split([' ', '\t', '\r', '\n']).filter(|word| !word.is_empty()).map(str::to_owned).collect();
        prop_assert_eq!(words::split(&text), Some(words));
    }

    #[test]
    fn any_text_has_words_or_an_open_quote(text in ".*|['\" a]*") {
        let words = words::split(&text);
        prop_assert!(words.is_some() || text.contains(['\'', '"']));
        prop_assert_eq!(words.is_none(), words::split(&format!("x {text}")).is_none());
    }
}

#[cfg(unix)]
mod platform {
    use std::fs;
    use std::path::{Path, PathBuf};

    use crate::stage::Stage;

    pub(super) const EXIT_7: &str = "the key command failed: exit status: 7";
    /// Programs by paths that are relative only here.
    pub(super) const RELATIVE: &[&str] = &[];
    /// Commands whose program is the same in each folder.
    pub(super) const WHOLE: &[&str] = &["getkey  'a b'", "/opt/get\\key x"];

    pub(super) fn counted(stage: &Stage, runs: &Path, body: &str) -> String {
        let script = format!("echo run >> '{}'\n{body}\n", runs.display());
        format!("sh '{}'", stage.file("key-script", &script, 0o600))
    }

    pub(super) fn unless_set(variable: &str, step: &str) -> String {
        format!("test -z \"${{{variable}+x}}\" && {step}")
    }

    /// The path of a folder as who works in it sees it.
    pub(super) fn seen_from_within(folder: &Path) -> PathBuf {
        fs::canonicalize(folder).unwrap()
    }
}

#[cfg(windows)]
mod platform {
    use std::path::{Path, PathBuf};

    use crate::stage::Stage;

    pub(super) const EXIT_7: &str = "the key command failed: exit code: 7";
    /// Programs by paths that are relative only here.
    pub(super) const RELATIVE: &[&str] = &[r".\getkey", "C:getkey", r"\getkey", r"bin\getkey x"];
    /// Commands whose program is the same in each folder.
    pub(super) const WHOLE: &[&str] = &[
        "getkey  'a b'",
        r"C:\tools\getkey.exe x",
        r"'C:\Program Files\x y\getkey.exe' x",
        r"\\server\share\getkey.exe x",
        "C:/tools/getkey x",
    ];

    pub(super) fn counted(stage: &Stage, runs: &Path, body: &str) -> String {
        let script = format!("@echo off\r\necho run>>\"{}\"\r\n{body}\r\n", runs.display());
        format!("cmd /d /c '{}'", stage.file("key-script.cmd", &script, 0o600))
    }

    pub(super) fn unless_set(variable: &str, step: &str) -> String {
        format!("if not defined {variable} {step}")
    }

    /// The path of a folder as who works in it sees it.
    pub(super) fn seen_from_within(folder: &Path) -> PathBuf {
        folder.to_owned()
    }
}
