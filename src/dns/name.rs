//! Names of domains, as people write them and as the DNS has them.

use std::net::IpAddr;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use crate::limits;

/// The name in lowercase ASCII, international labels as `xn--…` (UTS 46), without a dot at the end.
///
/// # Errors
///
/// What is wrong with it, to complete "the domain …".
pub fn normalise(text: &str) -> Result<String, String> {
    const NO_ADDRESS: &str = "must be the name of a domain, not an IP address";
    // What Unicode makes of a text is not worth finding out of one that is too long in any case.
    if text.len() > limits::DOMAIN_TEXT_MAX_BYTES {
        return Err(too_long(text.len()));
    }
    if text.parse::<IpAddr>().is_ok() {
        return Err(NO_ADDRESS.to_owned());
    }
    if text.contains(['/', '@', ':']) {
        return Err("must be the name of a domain alone, such as acme.example, without a scheme, \
                    port or path"
            .to_owned());
    }
    if text.starts_with("*.") {
        return Err("must be one domain: a wildcard cannot be verified".to_owned());
    }
    let ascii = Uts46::new()
        .to_ascii(
            text.as_bytes(),
            AsciiDenyList::STD3,
            Hyphens::CheckFirstLast,
            DnsLength::VerifyAllowRootDot,
        )
        .map_err(|_| "must be the name of a domain, such as acme.example".to_owned())?;
    let name = ascii.strip_suffix('.').unwrap_or(&ascii);
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NO_ADDRESS.to_owned());
    }
    if !name.contains('.') {
        return Err("must have at least two labels, such as acme.example".to_owned());
    }
    if name.len() > limits::DOMAIN_NAME_MAX_BYTES {
        return Err(too_long(name.len()));
    }
    if is_public_suffix(name) {
        return Err("must be a domain that somebody registered; under this one, which is on the \
                    Public Suffix List, anybody can register names"
            .to_owned());
    }
    Ok(name.to_owned())
}

/// Whether names under `name`, which is in lowercase ASCII, belong to different people. The list
/// changes with the build, so nothing that is stored may depend on it.
fn is_public_suffix(name: &str) -> bool {
    psl::suffix(name.as_bytes())
        .is_some_and(|suffix| suffix.is_known() && suffix.as_bytes() == name.as_bytes())
}

fn too_long(bytes: usize) -> String {
    format!("must be at most {} bytes in ASCII; got {bytes}", limits::DOMAIN_NAME_MAX_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_spelled_in_one_way() {
        let longest =
            format!("{}.{}.{}.{}", "a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(42));
        assert_eq!(longest.len(), limits::DOMAIN_NAME_MAX_BYTES);
        for (text, name) in [
            ("acme.example", "acme.example"),
            ("ACME.Example", "acme.example"),
            ("acme.example.", "acme.example"),
            ("a.b.c.acme.example", "a.b.c.acme.example"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.example", "xn--bcher-kva.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("bu\u{308}cher.example", "xn--bcher-kva.example"),
            ("acme。example", "acme.example"),
            ("ａｃｍｅ.example", "acme.example"),
            ("faß.example", "xn--fa-hia.example"),
            ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
            ("r3---sn-x.example", "r3---sn-x.example"),
            ("1.2.3.4.example", "1.2.3.4.example"),
            ("3com.example", "3com.example"),
            // Registered under a public suffix, or an exception to a wildcard.
            ("acme.co.uk", "acme.co.uk"),
            ("www.ck", "www.ck"),
            ("acme.github.io", "acme.github.io"),
            ("食狮.公司.cn", "xn--85x722f.xn--55qx5d.cn"),
            (&longest, &longest),
        ] {
            assert_eq!(normalise(text).as_deref(), Ok(name), "{text}");
        }
    }

    #[test]
    fn what_is_no_domain_is_refused_with_the_reason() {
        let label = format!("{}.example", "a".repeat(64));
        let long = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "d".repeat(43));
        for (text, said) in [
            ("", "name of a domain"),
            (".", "name of a domain"),
            ("..", "name of a domain"),
            ("acme..example", "name of a domain"),
            (".acme.example", "name of a domain"),
            ("acme.example..", "name of a domain"),
            ("localhost", "two labels"),
            ("com.", "two labels"),
            ("*.acme.example", "wildcard"),
            ("a*.acme.example", "name of a domain"),
            ("_dmarc.acme.example", "name of a domain"),
            ("-acme.example", "name of a domain"),
            ("acme-.example", "name of a domain"),
            ("ac me.example", "name of a domain"),
            ("acme.example\n", "name of a domain"),
            ("acme\0.example", "name of a domain"),
            ("xn--a.example", "name of a domain"),
            ("xn--.example", "name of a domain"),
            ("https://acme.example/", "without a scheme"),
            ("acme.example/path", "without a scheme"),
            ("acme.example:443", "without a scheme"),
            ("me@acme.example", "without a scheme"),
            ("192.0.2.1", "IP address"),
            ("192.0.2.1.", "IP address"),
            ("1.2", "IP address"),
            ("acme.123", "IP address"),
            ("2001:db8::1", "IP address"),
            ("[2001:db8::1]", "without a scheme"),
            ("co.uk", "Public Suffix List"),
            ("CO.UK.", "Public Suffix List"),
            ("ｃｏ．ｕｋ", "Public Suffix List"),
            ("anything.ck", "Public Suffix List"),
            ("github.io", "Public Suffix List"),
            ("公司.cn", "Public Suffix List"),
            ("xn--55qx5d.cn", "Public Suffix List"),
            ("XN--55QX5D.cn", "Public Suffix List"),
            (&label, "name of a domain"),
            (&long, "at most 234 bytes"),
            (&"é".repeat(500_000), "at most 234 bytes"),
        ] {
            let message = normalise(text).expect_err(said);
            assert!(message.contains(said), "{said}: {message}");
        }
    }
}
