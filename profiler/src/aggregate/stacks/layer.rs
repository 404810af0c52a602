//! What a frame belongs to.

use crate::attribute::Cause;
use crate::model::FrameKind;

/// What a frame belongs to: what it is coloured by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// A thread.
    Thread,
    /// The ship's own code.
    Hoon,
    /// The runtime.
    Vere,
    /// Code of the runtime that does what Hoon says, only quicker.
    Jet,
    /// A library that vere is built with.
    Library,
    /// The kernel.
    Kernel,
    /// The cause of all that is in it.
    Cause(Cause),
    /// Waiting for work, which has no cause.
    Idle,
    /// What is not known, and why.
    Note,
}

/// A named frame.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StackFrame {
    /// Its name.
    pub name: String,
    /// What it belongs to.
    pub layer: Layer,
}

/// How functions of the libraries are called that vere is linked with (vere `build.zig`: its
/// dependencies), and of the C library and Rust's, if the program has it.
const LIBRARIES: [&str; 39] = [
    "uv_",
    "uv__",
    "mdb_",
    "_mdb_",
    "__gmp",
    "mpz_",
    "mpn_",
    "SSL_",
    "ssl_",
    "CRYPTO_",
    "EVP_",
    "BN_",
    "OPENSSL_",
    "h2o_",
    "curl_",
    "Curl_",
    "urcrypt_",
    "secp256k1_",
    "ed25519_",
    "ge_p",
    "sha256_",
    "sha512_",
    "argon2",
    "blake2",
    "blake3_",
    "AES_",
    "aes_",
    "softfloat_",
    "f16_",
    "f32_",
    "f64_",
    "f128",
    "stackoverflow_",
    "sigsegv_",
    "wasm3_",
    "natpmp_",
    "core::",
    "std::",
    "alloc::",
];
/// Functions of the C library that vere's time is seen in.
const C_LIBRARY: [&str; 14] = [
    "memcpy",
    "memmove",
    "memset",
    "memcmp",
    "malloc",
    "free",
    "calloc",
    "realloc",
    "start",
    "__restore_rt",
    "__syscall_cp",
    "sccp",
    "qsort",
    "strlen",
];

impl Layer {
    /// Of a function.
    pub fn of(name: &str, kind: FrameKind) -> Self {
        let is_library =
            || LIBRARIES.iter().any(|prefix| name.starts_with(prefix)) || C_LIBRARY.contains(&name);
        match kind {
            FrameKind::Kernel => Self::Kernel,
            FrameKind::User if is_jet(name) => Self::Jet,
            FrameKind::User if is_library() => Self::Library,
            FrameKind::User => Self::Vere,
        }
    }
}

/// Jets are called `u3wX_name` (takes the sample apart), `u3qX_name` (computes) or `u3kX_name`
/// (computes and frees), X being the layer of the standard library (vere `pkg/noun/jets/README.md`).
fn is_jet(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("u3") else {
        return ["_cqe", "_cwe", "_cqf", "_cqd", "_cqc", "_cqb"]
            .iter()
            .any(|prefix| name.starts_with(prefix));
    };
    let mut letters = rest.chars();
    let first = letters.next().is_some_and(|c| matches!(c, 'w' | 'q' | 'k'));
    // Parts of the larger letters have two: `u3qea_`, `u3wfu_`.
    let layer = letters
        .as_str()
        .split_once('_')
        .map_or("", |(layer, _)| layer);
    first && (1..=2).contains(&layer.len()) && layer.chars().all(|c| c.is_ascii_lowercase())
}

/// Whether a function runs Nock (vere `pkg/noun/nock.c`).
pub fn is_interpreter(frame: &StackFrame) -> bool {
    frame.layer == Layer::Vere
        && (frame.name.starts_with("_n_burn")
            || frame.name.starts_with("_n_nock")
            || frame.name.starts_with("u3n_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_told_apart_by_their_names() {
        for (name, layer) in [
            ("u3we_by_get", Layer::Jet),
            ("u3qea_ecba_en", Layer::Jet),
            ("u3kb_lent", Layer::Jet),
            ("_cqe_cue_bytes", Layer::Jet),
            ("u3r_at", Layer::Vere),
            ("u3_king_commence", Layer::Vere),
            ("_n_burn", Layer::Vere),
            ("u3w", Layer::Vere),
            ("uv__io_poll", Layer::Library),
            ("mdb_txn_commit", Layer::Library),
            ("memcpy", Layer::Library),
            ("memcpy_of_ours", Layer::Vere),
        ] {
            assert_eq!(Layer::of(name, FrameKind::User), layer, "{name}");
        }
        assert_eq!(Layer::of("memcpy", FrameKind::Kernel), Layer::Kernel);
    }
}
