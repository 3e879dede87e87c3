//! The name of a resource that is made for somebody who gave only a display name.

/// How much of the display name goes into the name.
const LONGEST_SLUG: usize = 40;
/// How long the suffix is that tells resources of one display name apart.
const SUFFIX: usize = 6;
/// Without vowels and look-alikes, as Kubernetes' own generated names.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// A valid Kubernetes name: what of the display name can stand in one, and a suffix from the random bytes. `fallback` stands
/// in for a display name of which nothing can.
#[must_use]
pub fn object_name(display_name: &str, fallback: &str, random: [u8; SUFFIX]) -> String {
    let mut slug = String::new();
    for character in display_name.chars() {
        if slug.len() == LONGEST_SLUG {
            break;
        }
        if character.is_ascii_alphanumeric() {
            slug.push(character.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let slug = slug.trim_end_matches('-');
    let slug = if slug.is_empty() { fallback } else { slug };
    let suffix =
        random.map(|byte| ALPHABET.get(usize::from(byte) % ALPHABET.len()).copied().map_or('b', char::from));
    format!("{slug}-{}", String::from_iter(suffix))
}
