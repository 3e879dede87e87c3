//! Writes the manual pages of `kubectl-keyplane` into docs/man, or with `--check` says which of the committed ones differ.
//! An example, so that what it needs is not in the program.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use keyplane_credential_plugin::cli::Cli;
use roff::{Roff, roman};

/// The pages' texts by their files' names.
type Pages = BTreeMap<String, Vec<u8>>;

fn main() -> ExitCode {
    match run(std::env::args().nth(1).as_deref() == Some("--check")) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "man: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether what is committed is what the commands say (always so after writing).
fn run(check: bool) -> io::Result<bool> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/man");
    let (wanted, found) = (pages()?, read(&folder).unwrap_or_default());
    if check {
        if wanted != found {
            writeln!(
                io::stderr(),
                "{} differs from credential-plugin/src: run `make generate` and commit the result",
                folder.display()
            )?;
        }
        return Ok(wanted == found);
    }
    fs::create_dir_all(&folder)?;
    for name in found.keys().filter(|name| !wanted.contains_key(*name)) {
        fs::remove_file(folder.join(name))?;
    }
    for (name, text) in &wanted {
        fs::write(folder.join(name), text)?;
    }
    Ok(true)
}

fn pages() -> io::Result<Pages> {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let mut pages = Pages::new();
    add(program, &mut pages)?;
    Ok(pages)
}

/// The page of this command, and those of the ones below it.
fn add(command: Command, pages: &mut Pages) -> io::Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        add(below.clone(), pages)?;
    }
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    pages.insert(format!("{name}.1"), page(command, &name)?);
    Ok(())
}

fn page(mut command: Command, name: &str) -> io::Result<Vec<u8>> {
    let usage = command.render_usage().to_string();
    let command = command.override_usage(usage.trim_start_matches("Usage:").trim().to_owned());
    let more = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let has_commands = command.get_subcommands().any(|below| !below.is_hide_set());
    let man = Man::new(command)
        .title(name)
        // An empty one is left out, and what follows would take its place.
        .date(" ")
        .source(concat!("kubectl-keyplane ", env!("CARGO_PKG_VERSION")))
        .manual("Keyplane");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    // Each section begins with the same macros, which the page needs once.
    let mut section = |render: &dyn Fn(&mut Vec<u8>) -> io::Result<()>| -> io::Result<()> {
        let mut text = Vec::new();
        render(&mut text)?;
        let begin = text.windows(4).position(|window| window == b"\n.SH").map_or(0, |line| line + 1);
        page.extend(text.into_iter().skip(begin));
        Ok(())
    };
    section(&|text| man.render_name_section(text))?;
    section(&|text| man.render_synopsis_section(text))?;
    section(&|text| man.render_description_section(text))?;
    section(&|text| man.render_options_section(text))?;
    if has_commands {
        section(&|text| man.render_subcommands_section(text))?;
    }
    section(&|text| details(&more).to_writer(text))?;
    Ok(page)
}

/// What the help says after the options: each line is a paragraph, an indented one stays as it is, and a heading such as
/// `Examples:` is one.
fn details(text: &str) -> Roff {
    let mut roff = Roff::new();
    if text.lines().next().is_some_and(|first| !first.ends_with(':')) {
        roff.control("SH", ["DETAILS"]);
    }
    let mut stays = false;
    for line in text.lines().filter(|line| !line.is_empty()) {
        if line.starts_with(' ') != stays {
            stays = !stays;
            roff.control(if stays { "nf" } else { "fi" }, []);
        }
        match line.strip_suffix(':') {
            Some(heading) if !stays => {
                roff.control("SH", [heading.to_uppercase().as_str()]);
            }
            _ if stays => {
                roff.text([roman(line)]);
            }
            _ => {
                roff.control("PP", []).text([roman(line)]);
            }
        }
    }
    if stays {
        roff.control("fi", []);
    }
    roff
}

fn read(folder: &Path) -> io::Result<Pages> {
    let files: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    let page = |path: PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok((name, fs::read(path)?))
    };
    files.into_iter().map(page).collect()
}
