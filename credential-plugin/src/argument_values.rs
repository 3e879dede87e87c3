//! The values that arguments take, checked as admission would check them.

use chrono::{DateTime, Utc};

/// A name of an `ApiKey`.
///
/// # Errors
/// What is wrong with it, for a person.
pub fn key_name(text: &str) -> Result<String, String> {
    let label = |label: &str| {
        !label.starts_with('-')
            && !label.ends_with('-')
            && !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    if text.len() > 64 {
        Err("Key names are limited to 64 characters".to_owned())
    } else if text.split('.').all(label) {
        Ok(text.to_owned())
    } else {
        Err("a name holds lower-case letters, digits, '-' and '.', and begins and ends with a letter or digit".to_owned())
    }
}

/// A name of an `SshKey`.
///
/// # Errors
/// What is wrong with it, for a person.
pub fn ssh_key_name(text: &str) -> Result<String, String> {
    if text.len() > 253 {
        Err("a name has up to 253 characters".to_owned())
    } else if text.len() > 64 {
        // The same letters; only an ApiKey's name is shorter.
        text.split('.').map(key_name).collect::<Result<Vec<_>, _>>().map(|_| text.to_owned())
    } else {
        key_name(text)
    }
}

/// A name of a namespace.
///
/// # Errors
/// What is wrong with it, for a person.
pub fn namespace_name(text: &str) -> Result<String, String> {
    if text.len() > 63 || text.contains('.') {
        Err("a namespace's name has up to 63 lower-case letters, digits and '-'".to_owned())
    } else {
        key_name(text)
    }
}

/// What people call a key.
///
/// # Errors
/// What is wrong with it, for a person.
pub fn display_name(text: &str) -> Result<String, String> {
    if text.chars().count() > 64 {
        Err("Key names are limited to 64 characters".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

/// A time of RFC 3339.
///
/// # Errors
/// What is wrong with it, for a person.
pub fn time(text: &str) -> Result<DateTime<Utc>, String> {
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.to_utc())
        .map_err(|_| "give a time such as 2030-01-01T00:00:00Z".to_owned())
}

/// An id: a UUID.
///
/// # Errors
/// What is wrong with it, for a person.
pub fn uuid(text: &str) -> Result<String, String> {
    let groups: Vec<&str> = text.split('-').collect();
    let sound = groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.bytes().all(|b| b.is_ascii_hexdigit()));
    if sound {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("an id is a UUID, such as the metadata.uid of the Namespace resource".to_owned())
    }
}

/// A length of time in seconds: `90`, `90s`, `15m`, `24h` or `7d`.
///
/// # Errors
/// What is wrong with it, for a person.
pub fn seconds(text: &str) -> Result<u64, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit = match unit {
        "" | "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3600),
        "d" => Some(86_400),
        _ => None,
    };
    let number: Option<u64> = number.parse().ok();
    number
        .zip(unit)
        .and_then(|(number, unit): (u64, u64)| number.checked_mul(unit))
        .ok_or_else(|| "give a time such as 90s, 15m, 24h or 7d".to_owned())
}

/// How long a replaced key goes on working, in seconds: up to 30 days, as admission has it.
///
/// # Errors
/// What is wrong with it, for a person.
pub fn grace_period(text: &str) -> Result<u32, String> {
    const MOST: u32 = 30 * 86_400;
    let seconds = u32::try_from(seconds(text)?).unwrap_or(u32::MAX);
    if seconds > MOST { Err("a grace period is 30 days at most".to_owned()) } else { Ok(seconds) }
}

/// How long an exchange is given, in seconds: from 1 second to 5 minutes.
///
/// # Errors
/// What is wrong with it, for a person.
pub fn exchange_timeout(text: &str) -> Result<u64, String> {
    let seconds = seconds(text)?;
    if (1..=300).contains(&seconds) { Ok(seconds) } else { Err("give 1s to 5m".to_owned()) }
}

/// How long a key command is given, in seconds: from 1 second to 10 minutes.
///
/// # Errors
/// What is wrong with it, for a person.
pub fn key_command_timeout(text: &str) -> Result<u64, String> {
    let seconds = seconds(text)?;
    if (1..=600).contains(&seconds) { Ok(seconds) } else { Err("give 1s to 10m".to_owned()) }
}

/// How long is waited, in seconds: from 1 second to one hour.
///
/// # Errors
/// What is wrong with it, for a person.
pub fn patience(text: &str) -> Result<u64, String> {
    let seconds = seconds(text)?;
    if (1..=3600).contains(&seconds) { Ok(seconds) } else { Err("wait for 1s to 1h".to_owned()) }
}
