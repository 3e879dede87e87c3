//! A server that plays a proxy: it leads to where it is told, or fails in ways of its own.

use std::io::{self, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::stand_in::{Identity, StandIn, Stream, is_silence, read_head};

/// How long one side is listened to before the other is.
const PATIENCE: Duration = Duration::from_millis(10);

/// What a proxy does with a CONNECT.
#[derive(Clone, Debug)]
pub(crate) enum Play {
    /// It leads to this address, whatever it is asked for.
    Lead(SocketAddr),
    /// It answers this.
    Answer(&'static str),
    /// It answers this, one byte at a time, until nobody listens.
    Drip(&'static str),
    /// It says nothing.
    Hang,
}

pub(crate) struct StandInProxy {
    pub server: StandIn,
    heads: Arc<Mutex<Vec<String>>>,
}

impl StandInProxy {
    pub(crate) fn new(play: Play) -> Self {
        Self::of(&Identity { tls: false, ..Identity::default() }, play)
    }

    pub(crate) fn of(identity: &Identity, play: Play) -> Self {
        let heads = Arc::new(Mutex::new(Vec::new()));
        let patience = matches!(play, Play::Lead(_)).then_some(PATIENCE);
        let server = StandIn::handled(&Identity { patience, ..identity.clone() }, {
            let heads = Arc::clone(&heads);
            move |stream| proxy(stream, &play, &heads)
        });
        Self { server, heads }
    }

    /// What it was asked, head by head.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn proxy(stream: &mut dyn Stream, play: &Play, heads: &Mutex<Vec<String>>) -> io::Result<()> {
    // A client waits for the answer before it says more: nothing is lost in the buffer.
    let mut stream = BufReader::new(stream);
    heads.lock().unwrap().push(read_head(&mut stream)?);
    let stream = stream.get_mut();
    match play {
        Play::Lead(address) => {
            let target = TcpStream::connect(address)?;
            stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
            stream.flush()?;
            lead(stream, &target)
        }
        Play::Answer(answer) => stream.write_all(answer.as_bytes()),
        Play::Drip(answer) => answer.bytes().cycle().try_for_each(|byte| drip(*stream, byte)),
        Play::Hang => until_gone(*stream),
    }
}

/// One byte, and a pause in which a client could lose its patience.
pub(crate) fn drip(stream: &mut dyn Stream, byte: u8) -> io::Result<()> {
    stream.write_all(&[byte])?;
    stream.flush()?;
    thread::sleep(Duration::from_millis(100));
    Ok(())
}

/// Listens until the client goes.
pub(crate) fn until_gone(stream: &mut dyn Stream) -> io::Result<()> {
    io::copy(stream, &mut io::sink()).map(|_| ())
}

/// Looks at each side in turns, until one of them goes.
fn lead(stream: &mut dyn Stream, mut target: &TcpStream) -> io::Result<()> {
    target.set_read_timeout(Some(PATIENCE))?;
    let mut buffer = [0; 16 * 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => target.write_all(&buffer[..count])?,
            Err(error) if is_silence(&error) => {}
            Err(error) => return Err(error),
        }
        match target.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                stream.write_all(&buffer[..count])?;
                stream.flush()?;
            }
            Err(error) if is_silence(&error) => {}
            Err(error) => return Err(error),
        }
    }
}
