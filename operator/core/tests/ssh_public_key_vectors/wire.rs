//! Hand-made SSH key blobs, sound and unsound.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub(crate) fn blob(fields: &[&[u8]]) -> Vec<u8> {
    let mut blob = Vec::new();
    for field in fields {
        blob.extend(u32::try_from(field.len()).unwrap().to_be_bytes());
        blob.extend(*field);
    }
    blob
}

pub(crate) fn fields(blob: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = blob;
    let mut fields = Vec::new();
    while let Some((len, after)) = rest.split_first_chunk() {
        let (field, after) = after.split_at(u32::from_be_bytes(*len) as usize);
        fields.push(field.to_vec());
        rest = after;
    }
    fields
}

pub(crate) fn line(name: &str, blob: &[u8]) -> String {
    format!("{name} {}", STANDARD.encode(blob))
}

/// A line whose text type is that of the blob.
pub(crate) fn line_of(name: &str, after_name: &[&[u8]]) -> String {
    let mut all: Vec<&[u8]> = vec![name.as_bytes()];
    all.extend(after_name);
    line(name, &blob(&all))
}

/// The base64 of a `.pub` line.
pub(crate) fn base64_of(line: &str) -> &str {
    line.split(' ').nth(1).unwrap().trim()
}

/// The decoded base64 of a `.pub` line.
pub(crate) fn blob_of(line: &str) -> Vec<u8> {
    STANDARD.decode(base64_of(line)).unwrap()
}

/// The canonical `mpint` of a big-endian number.
pub(crate) fn mpint(magnitude: &[u8]) -> Vec<u8> {
    let start = magnitude.iter().position(|byte| *byte != 0).unwrap_or(magnitude.len());
    let mut mpint = magnitude[start..].to_vec();
    if mpint.first().is_some_and(|byte| byte & 0x80 != 0) {
        mpint.insert(0, 0);
    }
    mpint
}

/// A big-endian number times a small one.
pub(crate) fn times(number: &[u8], factor: u32) -> Vec<u8> {
    let mut carry = 0;
    let mut product = number.to_vec();
    for byte in product.iter_mut().rev() {
        carry += u32::from(*byte) * factor;
        *byte = u8::try_from(carry & 0xFF).unwrap();
        carry >>= 8;
    }
    [carry.to_be_bytes().to_vec(), product].concat()
}

/// Odd numbers of exactly so many bits, from the one in the middle on.
pub(crate) fn odd_numbers(bits: usize) -> impl Iterator<Item = Vec<u8>> {
    (1..=u16::MAX).step_by(2).map(move |low| {
        let mut number = vec![0xA5; bits.div_ceil(8)];
        let unused = number.len() * 8 - bits;
        number[0] = 0xC3 >> unused;
        let tail = number.len() - 2;
        number[tail..].copy_from_slice(&low.to_be_bytes());
        number
    })
}
