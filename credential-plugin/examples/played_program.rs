//! A program that tests put in the place of kubectl and others on Windows, where there is no shell to write one in. What it
//! does is in the file of its own name and `.plays`; it writes its arguments down in that of `.calls`.

use std::env;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::thread;

use serde_json::Value;

fn main() -> io::Result<ExitCode> {
    let program = env::current_exe()?;
    let args: Vec<String> = env::args().skip(1).collect();
    let mut calls = OpenOptions::new().create(true).append(true).open(program.with_extension("calls"))?;
    calls.write_all(format!("{}\n", args.join(" ")).as_bytes())?;
    drop(calls);
    let plays: Vec<Value> = serde_json::from_slice(&fs::read(program.with_extension("plays"))?)?;
    let fits = |play: &&Value| {
        let first = play.get("first").and_then(Value::as_str);
        first.is_none_or(|first| args.first().is_some_and(|arg| arg == first))
    };
    let Some(play) = plays.iter().find(fits) else { return Ok(ExitCode::SUCCESS) };
    let text = |field: &str| play.get(field).and_then(Value::as_str).unwrap_or_default();
    let mut out = io::stdout();
    out.write_all(text("prints").as_bytes())?;
    if let Some(file) = play.get("shows").and_then(Value::as_str) {
        io::copy(&mut fs::File::open(file)?, &mut out)?;
    }
    out.flush()?;
    io::stderr().write_all(text("says").as_bytes())?;
    while play.get("hangs").and_then(Value::as_bool) == Some(true) {
        thread::park();
    }
    let code = play.get("code").and_then(Value::as_u64).and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
