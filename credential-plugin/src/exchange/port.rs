//! The port of a URL. The parser leaves out what is no port, and the default would be taken in its place: that of another
//! server than the one that was named.

use ureq::http::uri::Authority;

/// What stands where a port belongs and is none: nothing, no number, 0, or one over 65535.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoPort;

/// The port that a URL's authority (RFC 3986, section 3.2) names, if it names one.
///
/// # Errors
/// [`NoPort`]
pub fn port_of(authority: &Authority) -> Result<Option<u16>, NoPort> {
    let text = authority.as_str();
    let after_user = text.rsplit_once('@').map_or(text, |(_, rest)| rest);
    let port = match after_user.strip_prefix(authority.host()) {
        Some("") => return Ok(None),
        Some(rest) => rest.strip_prefix(':').ok_or(NoPort)?,
        None => return Err(NoPort),
    };
    // The standard library takes a sign, too.
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse() {
        Ok(port) if digits && port != 0 => Ok(Some(port)),
        _ => Err(NoPort),
    }
}
