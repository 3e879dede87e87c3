//! The key command: when it runs, what counts of what it prints, and each way in which it fails.

use std::fs;

use keyplane_credential_plugin::key_source::words;
use proptest::prelude::*;

use crate::kept_key::{accepting, shows_no_key, text};
use crate::stage::{Stage, credential, failure, new_key};

impl Stage {
    /// A script that prints this and leaves a line in `runs` each time.
    fn counted(&self, body: &str) -> String {
        let runs = self.path("runs");
        self.file("key-script", &format!("echo run >> '{}'\n{body}\n", runs.display()), 0o600)
    }

    fn runs(&self) -> usize {
        fs::read_to_string(self.path("runs")).map_or(0, |text| text.lines().count())
    }
}

#[test]
fn the_command_runs_once_for_many_warm_starts() {
    let (stage, exchange) = (Stage::new(), accepting());
    let script = stage.counted(&format!("echo {}", stage.key));
    let get_token = || {
        let mut command = stage.command("get-token", &exchange);
        command.args(["--key-command", &format!("sh '{script}'")]);
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
        command.args(["--key-command", &format!("cat '{file}'")]);
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
    for print in [
        "printf '%s' KEY",
        "printf '%s\\r\\n' KEY",
        "printf '%s\\n' KEY 'user: ci' 'url: x'",
        "echo KEY; echo asks you >&2",
    ] {
        let stage = Stage::new();
        let script = stage.counted(&print.replace("KEY", &stage.key));
        let mut command = stage.command("get-token", &exchange);
        let output = command.args(["--key-command", &format!("sh {script}")]).output().unwrap();
        assert!(output.status.success(), "{print}: {output:?}");
        assert_eq!(text(&output.stderr), if print.contains(">&2") { "asks you\n" } else { "" });
        assert_eq!(exchange.asked().last().unwrap().header("x-api-key"), Some(stage.key.as_str()));
    }
}

#[test]
fn much_output_after_the_key_does_not_break_the_command() {
    let (stage, exchange) = (Stage::new(), accepting());
    let script = stage.counted(&format!("set -e\necho {}\nhead -c 1000000 /dev/zero", stage.key));
    let mut command = stage.command("get-token", &exchange);
    credential(&command.args(["--key-command", &format!("sh {script}")]).output().unwrap());
}

#[test]
fn words_are_split_at_blanks_and_held_together_by_quotes_and_no_shell_runs() {
    let (stage, exchange) = (Stage::new(), accepting());
    fs::create_dir(stage.path("a folder")).unwrap();
    stage.file("a folder/key", &stage.key, 0o600);
    for text in ["cat 'a folder/key'", "cat \"a folder/key\"", "cat\ta' 'folder/key"] {
        let mut command = stage.command("get-token", &exchange);
        credential(&command.args(["--no-cache", "--key-command", text]).output().unwrap());
    }
    let mut command = stage.command("get-token", &exchange);
    let output = command.args(["--key-command", "cat 'a folder/key' > stolen"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(!stage.path("stolen").exists());
    for text in ["", " ", "cat 'a", "''"] {
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
    let mistyped = format!("echo {}x", &key[..key.len() - 1]);
    let cases: [(&str, &str); 8] = [
        ("exit 7", "the key command failed: exit status: 7"),
        (&format!("echo {key}; exit 1"), "the key command failed: exit status: 1"),
        (":", "printed no key"),
        ("echo; echo key", "printed no key"),
        ("echo hello", "--key-command"),
        (&mistyped, "--key-command"),
        (&format!("echo ' {key}'"), "--key-command"),
        ("printf '\\377\\n'", "is not text"),
    ];
    for (body, words) in cases {
        let script = stage.counted(body);
        let mut command = stage.command("get-token", &exchange);
        let output = command.args(["--no-cache", "--key-command", &format!("sh {script}")]).output().unwrap();
        let line = failure(&output, 3);
        assert!(line.contains(words), "{body}: {line}");
        shows_no_key(&output, key);
    }
    let mut command = stage.command("get-token", &exchange);
    let line = failure(&command.args(["--key-command", "no-such-program --x"]).output().unwrap(), 3);
    assert!(line.contains("cannot be started") && line.contains("no-such-program"), "{line}");
    assert!(exchange.asked().is_empty());
}

#[test]
fn a_command_that_does_not_end_is_ended() {
    let (stage, exchange) = (Stage::new(), accepting());
    // One keeps its output open, the other has closed it.
    for body in ["exec sleep 600", "exec >&-; exec sleep 600"] {
        let script = stage.counted(&format!("echo $$ > '{}'\n{body}", stage.path("pid").display()));
        let mut command = stage.command("get-token", &exchange);
        command.args(["--key-command-timeout", "1", "--key-command", &format!("sh {script}")]);
        let line = failure(&command.output().unwrap(), 3);
        assert!(line.contains("did not end within 1 s") && line.contains("--key-command-timeout"), "{line}");
        let pid = fs::read_to_string(stage.path("pid")).unwrap();
        assert!(!std::path::Path::new("/proc").join(pid.trim()).exists(), "{body}: it is still there");
    }
}

#[test]
fn a_note_that_is_wrong_in_any_way_is_no_note() {
    let (stage, exchange) = (Stage::new(), accepting());
    let script = stage.counted(&format!("echo {}", stage.key));
    let get_token = || {
        let mut command = stage.command("get-token", &exchange);
        command.args(["--key-command", &format!("sh {script}")]);
        credential(&command.output().unwrap());
    };
    get_token();
    let files = crate::stage::files_in(&stage.cache_folder());
    let note = files.iter().find(|path| path.extension().unwrap() == "key-command").unwrap();
    let content = fs::read_to_string(note).unwrap();
    assert!(!content.contains(&stage.key[4..]) && crate::stage::mode(note) == 0o600, "{content}");
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
    let script = stage
        .counted(&format!("test \"$1\" = 'C:\\tools\\x' && test \"$2\" = '#prod' && echo {}", stage.key));
    let mut command = stage.command("get-token", &exchange);
    credential(
        &command.args(["--key-command", &format!("sh {script} C:\\tools\\x #prod")]).output().unwrap(),
    );
}

#[test]
fn a_program_of_a_relative_path_is_refused_and_not_run() {
    let (stage, exchange) = (Stage::new(), accepting());
    let body = format!("#!/bin/sh\ntouch ran\necho {}\n", stage.key);
    stage.file("getkey", &body, 0o700);
    for text in ["./getkey", "'./getkey' x"] {
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
    assert!(!stage.path("ran").exists());
    let whole = stage.path("getkey").display().to_string();
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
    let folder = fs::canonicalize(stage.home.path()).unwrap();
    let words = words::split(&command_of("./bin/getkey  'a b' #x C:\\y")).unwrap();
    assert_eq!(words, [folder.join("bin/getkey").to_str().unwrap(), "a b", "#x", "C:\\y"]);
    for text in ["getkey  'a b'", "/opt/get\\key x"] {
        assert_eq!(command_of(text), text);
    }
}

#[test]
fn the_command_does_not_inherit_a_key() {
    let (stage, exchange) = (Stage::new(), accepting());
    let other = new_key();
    let script = stage.counted(&format!("test -z \"${{KEYPLANE_API_KEY+x}}\" && echo {}", stage.key));
    let mut command = stage.command("login", &exchange);
    command.env("KEYPLANE_API_KEY", &other).args(["--key-command", &format!("sh {script}")]);
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
