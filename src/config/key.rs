//! What a configuration key is, and the macro that declares them all: field, default, bounds and
//! documentation in one breath, so that none can disagree with another.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// One configuration key.
#[derive(Debug)]
pub struct Key {
    /// Its name, `section.key` or `key`.
    pub name: &'static str,
    /// What it is for, line by line.
    pub doc: &'static [&'static str],
    /// What holds when nobody sets it.
    pub initial: Initial,
    /// What a value looks like, to complete the sentence "it must be …".
    pub expected: &'static str,
    /// Bounds of a number.
    pub range: Option<RangeInclusive<u64>>,
    /// Whether TOML spells it as a string.
    pub quoted: bool,
    /// Whether its value is never shown.
    pub secret: bool,
}

/// What holds when nobody sets a key.
#[derive(Debug, Clone, Copy)]
pub enum Initial {
    /// This value; empty is "none".
    Text(&'static str),
    /// Something made from other keys, as described.
    From(&'static str),
}

impl Key {
    /// The environment variable that sets it.
    pub fn env_name(&self) -> String {
        match self.name.split_once('.') {
            Some((section, key)) => format!("AUTHRAI_{section}__{key}").to_uppercase(),
            None => format!("AUTHRAI__{}", self.name).to_uppercase(),
        }
    }

    /// What a value looks like, with its bounds.
    pub fn expectation(&self) -> String {
        match &self.range {
            Some(range) => format!("{} from {} to {}", self.expected, range.start(), range.end()),
            None => self.expected.to_owned(),
        }
    }
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// Nobody set it, and `authrai dev` has a default of its own.
    DevDefault,
    /// Nobody set it; made from another key.
    From(&'static str),
    /// A line of the file.
    File(PathBuf, usize),
    /// An environment variable.
    Env(String),
    /// A flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::DevDefault => f.write_str("default of authrai dev"),
            Self::From(key) => write!(f, "default, from {key}"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// Declares the configuration's structs, how they are read, and `KEYS`, the list of all keys.
macro_rules! settings {
    (
        $(#[$meta:meta])* pub struct $config:ident {
            top { $(
                $(#[doc = $top_doc:literal])+
                $top:ident : $top_ty:ty $(, in ($top_range:expr))?
                    = $(from $top_from:literal)? $($top_default:literal)?;
            )+ }
            $(
                $(#[doc = $section_doc:literal])+
                section $section:ident : $section_ty:ident { $(
                    $(#[doc = $doc:literal])+
                    $key:ident : $ty:ty $(, in ($range:expr))?
                        = $(from $from:literal)? $($default:literal)?;
                )+ }
            )+
        }
    ) => {
        $(#[$meta])*
        pub struct $config {
            $( $(#[doc = $top_doc])+ pub $top: $top_ty, )+
            $( $(#[doc = $section_doc])+ pub $section: $section_ty, )+
        }

        $(
            $(#[doc = $section_doc])+
            #[derive(Debug, Clone)]
            pub struct $section_ty { $( $(#[doc = $doc])+ pub $key: $ty, )+ }
        )+

        /// Every key, in the order of the reference.
        pub static KEYS: &[Key] = &[
            $( $crate::config::key::key!(
                stringify!($top), $top_ty, [$($top_doc)+], [$($top_range)?],
                $(from $top_from)? $($top_default)?
            ), )+
            $( $( $crate::config::key::key!(
                concat!(stringify!($section), ".", stringify!($key)), $ty, [$($doc)+],
                [$($range)?], $(from $from)? $($default)?
            ), )+ )+
        ];

        impl $config {
            /// Takes every key's value; `None` if one was wrong, after a look at all the others.
            fn read(values: &mut layers::Values) -> Option<Self> {
                $( let $top = values.read(stringify!($top)); )+
                $( let $section = $section_ty::read(values); )+
                Some(Self { $( $top: $top?, )+ $( $section: $section?, )+ })
            }
        }

        $(
            impl $section_ty {
                fn read(values: &mut layers::Values) -> Option<Self> {
                    $( let $key = values.read(
                        concat!(stringify!($section), ".", stringify!($key))
                    ); )+
                    Some(Self { $( $key: $key?, )+ })
                }
            }
        )+
    };
}

/// One [`Key`] of [`settings`].
macro_rules! key {
    (@initial from $how:literal) => { $crate::config::Initial::From($how) };
    (@initial $text:literal) => { $crate::config::Initial::Text($text) };
    (@range) => { None };
    (@range $range:expr) => { Some($range) };
    ($name:expr, $ty:ty, [$($doc:literal)+], [$($range:expr)?], $($initial:tt)+) => {
        Key {
            name: $name,
            doc: &[$($doc),+],
            initial: $crate::config::key::key!(@initial $($initial)+),
            expected: <$ty as Setting>::EXPECTED,
            range: $crate::config::key::key!(@range $($range)?),
            quoted: <$ty as Setting>::QUOTED,
            secret: <$ty as Setting>::SECRET,
        }
    };
}

pub(super) use {key, settings};
