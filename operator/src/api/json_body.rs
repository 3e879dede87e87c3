//! Bodies in JSON: what is wrong with one is told without repeating what stands in it.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use http::StatusCode;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// What the body of a request says.
///
/// # Errors
/// 400 when it cannot be read, 413 when it is too large, 408 when it did not come.
pub(crate) fn json_of_request<T: DeserializeOwned>(
    body: Result<Bytes, BytesRejection>,
) -> Result<T, Problem> {
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            "The body is larger than any that is taken",
        ),
        _ => Problem::new(StatusCode::BAD_REQUEST, "invalid_body", "The body did not come whole"),
    })?;
    json_body(&body).map_err(|detail| Problem::new(StatusCode::BAD_REQUEST, "invalid_body", detail))
}

/// What the body says, or why it cannot be read, for a person. Nothing of the body but names of fields is in that: it may
/// hold a private key in the wrong place.
pub(crate) fn json_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| {
        if error.is_data() {
            format!("The body cannot be used: {}", without_values(&error.to_string()))
        } else {
            format!("The body must be JSON (line {}, column {})", error.line(), error.column())
        }
    })
}

/// serde's message, of which `invalid type: string "…", expected …` repeats what it found.
fn without_values(message: &str) -> String {
    let is_repeating = message.starts_with("invalid ") || message.starts_with("unknown variant");
    match message.rsplit_once(", expected ") {
        Some((_, expected)) if is_repeating => format!("expected {expected}"),
        _ if is_repeating => "a value of another type is expected".to_owned(),
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        #[allow(dead_code, reason = "only read into")]
        name: String,
        #[allow(dead_code, reason = "only read into")]
        count: Option<u32>,
    }

    #[test]
    fn what_is_wrong_is_told_and_nothing_of_what_was_sent() {
        for (body, told) in [
            (r#"{"name": "a", "count": "s3cret"}"#, "expected u32"),
            (r#"{"name": ["s3cret"]}"#, "expected a string"),
            (r#""s3cret""#, "expected struct Body"),
            (r#"{"count": 1}"#, "missing field `name`"),
            (r#"{"name": "a", "other": "s3cret"}"#, "unknown field `other`"),
            ("{s3cret", "must be JSON"),
            ("", "must be JSON"),
        ] {
            let error = json_body::<Body>(body.as_bytes()).unwrap_err();
            assert!(error.contains(told), "{body}: {error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
