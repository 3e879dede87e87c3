//! The laws of changing a kubeconfig's text: it says what the merge of the values says, every line that is not ours
//! stays, and twice is once. On kubeconfigs written in any layout.

use keyplane_credential_plugin::kubeconfig::document::{Document, to_yaml};
use keyplane_credential_plugin::kubeconfig::entries::EXTENSION;
use keyplane_credential_plugin::kubeconfig::merge::{Permission, merge};
use keyplane_credential_plugin::kubeconfig::text_edit::edit;
use proptest::prelude::*;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::kubeconfig_styles::has_lines;
use crate::merge_laws::{entries, value};

/// Lines that say nothing, between those that do.
fn noise() -> impl Strategy<Value = String> {
    let line = prop::sample::select(vec!["# note", "  # deeper: note", "", "      # - name: gone", "#"]);
    proptest::collection::vec(line, 0..3)
        .prop_map(|lines| lines.iter().flat_map(|line| [line, "\n"]).collect())
}

/// The text of a value in block or in flow style, every line indented.
fn written(value: &Value, indent: usize, flow: bool) -> String {
    if flow {
        return format!("{}{value}\n", " ".repeat(indent));
    }
    let text = to_yaml(value).unwrap();
    let indent = " ".repeat(indent);
    text.lines().flat_map(|line| [&indent, line, "\n"]).collect()
}

/// A list of a kubeconfig as somebody may have written it.
fn section(list: &'static str, content: &'static str) -> impl Strategy<Value = String> {
    let entry = (value(), any::<bool>(), noise(), prop::sample::select(vec![1, 1, 3]));
    let entries = (proptest::collection::vec(entry, 1..4), 0_usize..4, noise());
    let full = entries.prop_map(move |(entries, indent, after)| {
        let mut text = format!("{list}: # {content}\n");
        for (position, (value, flow, before, gap)) in entries.into_iter().enumerate() {
            let deeper = indent + 1 + gap;
            let name = format!("{list}{position}");
            text.push_str(&before);
            let (dash, gap, deep) = (" ".repeat(indent), " ".repeat(gap), " ".repeat(deeper));
            text.extend([&dash, "-", &gap, "name: ", &name, " # its name\n", &deep, content, ":\n"]);
            text.push_str(&written(&json!({"x": value}), deeper + 2, flow));
        }
        text + &after
    });
    let one_line = prop::sample::select(vec!["null", "[]", "", "~", "[ ] # none"]);
    prop_oneof![
        4 => full,
        1 => one_line.prop_map(move |text| format!("{list}: {text}\n")),
        1 => Just(String::new()),
    ]
}

/// A kubeconfig's text: sections in any order, unknown fields, comments anywhere, any line ends.
fn text() -> impl Strategy<Value = String> {
    let unknown = value().prop_map(|value| written(&json!({"x-unknown": value}), 0, false));
    let current = prop::sample::select(vec![
        "current-context: old # c\n",
        "",
        "current-context:\n",
        "current-context: ''\n",
    ]);
    let parts = (
        section("clusters", "cluster"),
        section("users", "user"),
        section("contexts", "context"),
        unknown,
        current.prop_map(str::to_owned),
    );
    let ordered = parts.prop_map(|(a, b, c, d, e)| vec![a, b, c, d, e]).prop_shuffle();
    (ordered, noise(), noise(), any::<(bool, bool, bool)>()).prop_map(
        |(parts, first, last, (crlf, open_end, mark))| {
            let mut text = format!("{first}{}{last}", parts.concat());
            if open_end {
                text.truncate(text.trim_end_matches('\n').len());
            }
            if crlf {
                text = text.replace('\n', "\r\n");
            }
            if mark { format!("\u{feff}{text}") } else { text }
        },
    )
}

/// Whether the line is the whole of an empty field that gets a value.
fn is_empty_field(line: &str) -> bool {
    let line = line.trim_start_matches('\u{feff}');
    ["clusters:", "users:", "contexts:", "current-context:"].iter().any(|field| {
        line.strip_prefix(field)
            .is_some_and(|rest| matches!(rest.trim(), "null" | "[]" | "" | "~" | "[ ] # none" | "''"))
    })
}

proptest! {
    #[test]
    fn the_text_says_what_the_merge_says_and_no_other_line_changes(text in text()) {
        let document = Document::parse(Zeroizing::new(text.clone()), "file").unwrap();
        let wanted = merge(document.value().clone(), &entries(), Permission::default(), "file").unwrap();
        let edited = document.edited(&wanted).unwrap();
        prop_assert!(edited.layout_kept, "{}", *edited.text);
        let again = Document::parse(edited.text.clone(), "file").unwrap();
        prop_assert_eq!(again.value(), &wanted);
        let kept = text.lines().filter(|line| !is_empty_field(line));
        has_lines(&edited.text, kept).map_err(TestCaseError::fail)?;
        let twice = merge(again.value().clone(), &entries(), Permission::default(), "file").unwrap();
        prop_assert_eq!(again.edited(&twice).unwrap().text, edited.text);
    }

    #[test]
    fn a_second_cluster_leaves_the_first_where_it_is(text in text()) {
        let document = Document::parse(Zeroizing::new(text), "file").unwrap();
        let first = merge(document.value().clone(), &entries(), Permission::default(), "file").unwrap();
        let first = Document::parse(document.edited(&first).unwrap().text, "file").unwrap();
        let mut more = entries();
        let cluster = more.cluster.as_mut().unwrap();
        cluster.name = "second".to_owned();
        cluster.ca = None;
        more.contexts[0].name = "second".to_owned();
        more.contexts[0].cluster = "second".to_owned();
        more.user.as_mut().unwrap().exec["args"] = json!(["get-token", "--allow-server", "https://b.example"]);
        let both = merge(first.value().clone(), &more, Permission { replace: false, set_current: true }, "file").unwrap();
        let edited = first.edited(&both).unwrap();
        prop_assert!(edited.layout_kept, "{}", *edited.text);
    }

    #[test]
    fn a_cluster_of_another_exchange_stays_or_is_replaced_in_the_text_as_in_the_merge(
        indent in 0_usize..4,
        before in noise(),
        after in noise(),
        flow in any::<bool>(),
    ) {
        let theirs = json!({
            "server": "https://c.example",
            "x-theirs": 1,
            "extensions": [{"name": EXTENSION, "extension": {"server": "https://theirs.example"}}],
        });
        let dash = " ".repeat(indent);
        let text = format!(
            "clusters:\n{before}{dash}- name: c # its name\n{dash}  cluster:\n{}{after}{dash}- name: more # stays\n",
            written(&theirs, indent + 4, flow),
        );
        let document = Document::parse(Zeroizing::new(text), "file").unwrap();
        prop_assert!(merge(document.value().clone(), &entries(), Permission::default(), "file").is_err());
        let replacing = Permission { replace: true, set_current: false };
        let wanted = merge(document.value().clone(), &entries(), replacing, "file").unwrap();
        let edited = document.edited(&wanted).unwrap();
        prop_assert!(edited.layout_kept, "{}", *edited.text);
        prop_assert!(!edited.text.contains("theirs"), "{}", *edited.text);
        prop_assert!(edited.text.contains("- name: more # stays\n"), "{}", *edited.text);
        let again = Document::parse(edited.text, "file").unwrap();
        prop_assert_eq!(again.value(), &wanted);
    }

    #[test]
    fn any_value_becomes_any_other_or_is_given_up_and_never_panics(old in value(), new in value()) {
        let text = to_yaml(&old).unwrap();
        if let Some(edited) = edit(&text, &old, &new) {
            let _ = serde_saphyr::from_str::<Value>(&edited);
        }
    }

    #[test]
    fn any_text_is_edited_or_given_up_without_a_panic(text in "\\PC{0,60}|([-:#{}\\[\\],|>&*?!\"' \r\n\ta]){0,60}", new in value()) {
        if let Ok(document) = Document::parse(Zeroizing::new(text), "file") {
            let edited = document.edited(&new).unwrap();
            let read = Document::parse(edited.text, "file").unwrap();
            prop_assert_eq!(read.value(), &new);
        }
    }
}
