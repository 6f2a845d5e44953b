//! `Content-Digest` (RFC 9530): whether the body that arrived is the one that was signed.

use sfv::{Dictionary, ListEntry, Parser};
use sha2::{Digest as _, Sha256, Sha512};

use super::Fault;

const HEADER: &str = "Content-Digest";

/// Checks every digest that is known, of which there has to be one at least. Others are ignored, as
/// the RFC says.
pub fn check(header: &str, body: &[u8]) -> Result<(), Fault> {
    let digests: Dictionary = Parser::new(header)
        .parse()
        .map_err(|_| Fault::Malformed(HEADER, "it is no structured dictionary (RFC 9651)"))?;
    let mut known = 0;
    for (algorithm, stated) in &digests {
        let actual = match algorithm.as_str() {
            "sha-256" => Sha256::digest(body).to_vec(),
            "sha-512" => Sha512::digest(body).to_vec(),
            _ => continue,
        };
        let ListEntry::Item(stated) = stated else {
            return Err(Fault::Malformed(HEADER, "a digest is a list"));
        };
        let stated = stated
            .bare_item
            .as_byte_sequence()
            .ok_or(Fault::Malformed(HEADER, "a digest is not base64 between colons"))?;
        if stated != actual {
            return Err(Fault::WrongDigest);
        }
        known += 1;
    }
    if known == 0 {
        return Err(Fault::Malformed(HEADER, "it has neither sha-256 nor sha-512"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9530, appendices B.1 and D: the digests of `{"hello": "world"}` and a line feed.
    const BODY: &[u8] = b"{\"hello\": \"world\"}\n";
    const SHA_256: &str = "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:";

    #[test]
    fn the_digests_of_the_rfc_are_right() {
        // The RFC's own text of the body has no line feed for this pair.
        let bare = b"{\"hello\": \"world\"}";
        assert_eq!(check("sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:", bare), Ok(()));
        assert_eq!(check(SHA_256, BODY), Ok(()));
    }

    #[test]
    fn every_known_digest_has_to_be_right_and_one_has_to_be_there() {
        for (header, expected) in [
            (format!("{SHA_256}, md5=:AAAA:"), "ok"),
            (format!("{SHA_256}, sha-512=:AAAA:"), "wrong"),
            ("sha-256=:AAAA:".into(), "wrong"),
            ("md5=:AAAA:".into(), "malformed"),
            (String::new(), "malformed"),
            ("sha-256=abc".into(), "malformed"),
            ("sha-256=(:AAAA:)".into(), "malformed"),
            ("sha-256=:!!:".into(), "malformed"),
            ("\u{e9}".into(), "malformed"),
        ] {
            let outcome = match check(&header, BODY) {
                Ok(()) => "ok",
                Err(Fault::WrongDigest) => "wrong",
                Err(_) => "malformed",
            };
            assert_eq!(outcome, expected, "{header}");
        }
    }
}
