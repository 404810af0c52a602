//! The running kernel's type information (BTF): where fields lie, what tracepoints pass.
//!
//! Format: `Documentation/bpf/btf.rst` of Linux. aya parses BTF as well, but keeps the members of
//! structures to itself; the crates that show them are unmaintained or under a licence that a
//! static binary cannot carry. Only look-ups by name are needed, so types stay unparsed bytes
//! with an index of where each begins.

use thiserror::Error;

/// Why BTF could not be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BtfError {
    /// The bytes are no BTF of this machine's byte order.
    #[error("the kernel's BTF does not begin with its magic number")]
    Magic,
    /// A length or offset points outside.
    #[error("the kernel's BTF is cut short or damaged near byte {0}")]
    Damaged(usize),
    /// A type of a kind that did not exist when this was written: its length is unknown.
    #[error("the kernel's BTF holds a type of the unknown kind {0}")]
    UnknownKind(u32),
}

const MAGIC: u16 = 0xeb9f;

const KIND_INT: u32 = 1;
const KIND_PTR: u32 = 2;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_TYPEDEF: u32 = 8;
const KIND_VOLATILE: u32 = 9;
const KIND_CONST: u32 = 10;
const KIND_RESTRICT: u32 = 11;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_DECL_TAG: u32 = 17;
const KIND_TYPE_TAG: u32 = 18;
const KIND_ENUM64: u32 = 19;

/// Nesting that a look-up follows before it takes the data for damaged.
const MAX_DEPTH: usize = 16;

/// Parsed far enough to look things up.
pub struct Btf {
    data: Vec<u8>,
    strings: usize,
    /// Where each type begins; type 0 is `void` and has no bytes.
    types: Vec<usize>,
}

/// The three words that every type begins with.
struct Head {
    name: u32,
    kind: u32,
    vlen: u32,
    bitfields: bool,
    size_or_type: u32,
    body: usize,
}

impl Btf {
    /// Indexes the bytes of `/sys/kernel/btf/vmlinux`.
    ///
    /// # Errors
    /// If they are not BTF, or damaged, or of a later format.
    pub fn parse(data: Vec<u8>) -> Result<Self, BtfError> {
        let mut btf = Self {
            data,
            strings: 0,
            types: vec![0],
        };
        let head = btf.data.get(..24).ok_or(BtfError::Magic)?;
        if u16::from_le_bytes([head[0], head[1]]) != MAGIC {
            return Err(BtfError::Magic);
        }
        let header_len = btf.u32_at(4)? as usize;
        let at = |offset: u32| header_len.checked_add(offset as usize);
        let start = at(btf.u32_at(8)?).ok_or(BtfError::Damaged(8))?;
        let end = start
            .checked_add(btf.u32_at(12)? as usize)
            .ok_or(BtfError::Damaged(12))?;
        btf.strings = at(btf.u32_at(16)?).ok_or(BtfError::Damaged(16))?;
        if end > btf.data.len() || btf.strings > btf.data.len() {
            return Err(BtfError::Damaged(end));
        }
        let mut position = start;
        while position < end {
            btf.types.push(position);
            let head = btf.head_at(position)?;
            position = head.body + body_len(&head)?;
        }
        Ok(btf)
    }

    fn u32_at(&self, at: usize) -> Result<u32, BtfError> {
        let bytes = self.data.get(at..at + 4).ok_or(BtfError::Damaged(at))?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn head_at(&self, at: usize) -> Result<Head, BtfError> {
        let info = self.u32_at(at + 4)?;
        Ok(Head {
            name: self.u32_at(at)?,
            kind: (info >> 24) & 0x1f,
            vlen: info & 0xffff,
            bitfields: info >> 31 != 0,
            size_or_type: self.u32_at(at + 8)?,
            body: at + 12,
        })
    }

    fn head(&self, id: u32) -> Option<Head> {
        let at = *self.types.get(id as usize).filter(|_| id != 0)?;
        self.head_at(at).ok()
    }

    fn string(&self, offset: u32) -> &[u8] {
        let bytes = self
            .data
            .get(self.strings + offset as usize..)
            .unwrap_or_default();
        let end = bytes.iter().position(|&b| b == 0).unwrap_or(0);
        &bytes[..end]
    }

    /// The first type of this kind and name.
    fn find(&self, kind: u32, name: &str) -> Option<u32> {
        (1..self.types.len() as u32).find(|&id| {
            self.head(id)
                .is_some_and(|head| head.kind == kind && self.string(head.name) == name.as_bytes())
        })
    }

    /// Follows typedefs and qualifiers to the type behind them.
    fn resolve(&self, mut id: u32) -> Option<u32> {
        for _ in 0..MAX_DEPTH {
            let head = self.head(id)?;
            match head.kind {
                KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_TYPE_TAG => {
                    id = head.size_or_type;
                }
                _ => return Some(id),
            }
        }
        None
    }

    /// Size of a structure in bytes.
    pub fn size_of(&self, structure: &str) -> Option<u32> {
        Some(self.head(self.find(KIND_STRUCT, structure)?)?.size_or_type)
    }

    /// Byte offset of a field of a structure, `a.b` for one of a structure inside it. Members of
    /// anonymous structures and unions are found as in C. Nothing for a bit field, whose place a
    /// byte offset does not tell.
    pub fn field(&self, structure: &str, path: &str) -> Option<u32> {
        let mut id = self.find(KIND_STRUCT, structure)?;
        let mut offset = 0;
        for name in path.split('.') {
            let (at, member) = self.member(self.resolve(id)?, name, 0)?;
            offset += at;
            id = member;
        }
        Some(offset)
    }

    fn member(&self, id: u32, name: &str, depth: usize) -> Option<(u32, u32)> {
        let head = self.head(id)?;
        if !matches!(head.kind, KIND_STRUCT | KIND_UNION) || depth > MAX_DEPTH {
            return None;
        }
        for i in 0..head.vlen as usize {
            let at = head.body + i * 12;
            let member_name = self.string(self.u32_at(at).ok()?);
            let member_type = self.u32_at(at + 4).ok()?;
            let place = self.u32_at(at + 8).ok()?;
            let (bits, width) = if head.bitfields {
                (place & 0x00ff_ffff, place >> 24)
            } else {
                (place, 0)
            };
            if member_name == name.as_bytes() {
                return (width == 0).then_some((bits / 8, member_type));
            }
            if member_name.is_empty()
                && let Some(inner) = self.resolve(member_type)
                && let Some((offset, found)) = self.member(inner, name, depth + 1)
            {
                return Some((bits / 8 + offset, found));
            }
        }
        None
    }

    /// What a tracepoint passes to a BTF-aware program: the name of the structure that each
    /// argument points to, empty for anything else. Nothing if the kernel has no such tracepoint.
    pub fn tracepoint(&self, name: &str) -> Option<Vec<String>> {
        let typedef = self.find(KIND_TYPEDEF, &format!("btf_trace_{name}"))?;
        let pointer = self.head(self.resolve(typedef)?)?;
        let prototype = self.head(self.resolve(pointer.size_or_type)?)?;
        if pointer.kind != KIND_PTR || prototype.kind != KIND_FUNC_PROTO {
            return None;
        }
        // The first parameter is the tracepoint's private data, which programs do not see.
        let arguments = 1..prototype.vlen as usize;
        Some(
            arguments
                .map(|i| self.pointee(prototype.body + i * 8))
                .collect(),
        )
    }

    fn pointee(&self, parameter: usize) -> String {
        let name = || {
            let pointer = self.head(self.resolve(self.u32_at(parameter + 4).ok()?)?)?;
            if pointer.kind != KIND_PTR {
                return None;
            }
            let target = self.head(self.resolve(pointer.size_or_type)?)?;
            (target.kind == KIND_STRUCT).then(|| self.string(target.name))
        };
        String::from_utf8_lossy(name().unwrap_or_default()).into_owned()
    }

    /// Whether an enumeration has this constant.
    pub fn has_constant(&self, enumeration: &str, constant: &str) -> bool {
        let has = |kind: u32, stride: usize| {
            let head = self.head(self.find(kind, enumeration)?)?;
            let names = (0..head.vlen as usize).map(|i| self.u32_at(head.body + i * stride));
            names
                .flatten()
                .find(|&name| self.string(name) == constant.as_bytes())
        };
        has(KIND_ENUM, 8).or_else(|| has(KIND_ENUM64, 12)).is_some()
    }
}

/// Bytes that follow a type's three words.
fn body_len(head: &Head) -> Result<usize, BtfError> {
    let vlen = head.vlen as usize;
    Ok(match head.kind {
        KIND_INT | KIND_VAR | KIND_DECL_TAG => 4,
        KIND_ARRAY => 12,
        KIND_STRUCT | KIND_UNION | KIND_DATASEC | KIND_ENUM64 => vlen * 12,
        KIND_ENUM | KIND_FUNC_PROTO => vlen * 8,
        // FWD 7, FUNC 12 and FLOAT 16 have none either.
        KIND_PTR | 7..=12 | 16 | KIND_TYPE_TAG => 0,
        kind => return Err(BtfError::UnknownKind(kind)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running_kernel() -> Option<Btf> {
        let Ok(data) = std::fs::read("/sys/kernel/btf/vmlinux") else {
            eprintln!("skipped: this kernel shows no BTF");
            return None;
        };
        Some(Btf::parse(data).expect("the kernel's own BTF parses"))
    }

    #[test]
    fn looks_up_fields_tracepoints_and_constants_of_this_kernel() {
        let Some(btf) = running_kernel() else { return };
        assert_eq!(btf.field("list_head", "prev"), Some(8));
        assert_eq!(btf.size_of("list_head"), Some(16));
        assert!(btf.field("task_struct", "tgid").is_some());
        assert!(
            btf.field("sock", "__sk_common.skc_num").is_some(),
            "inside anonymous unions"
        );
        assert_eq!(btf.field("task_struct", "no_such_field"), None);
        let switch = btf.tracepoint("sched_switch").expect("every kernel has it");
        assert_eq!(switch[1..3], ["task_struct", "task_struct"]);
        assert_eq!(btf.tracepoint("no_such_tracepoint"), None);
        assert!(btf.has_constant("bpf_func_id", "BPF_FUNC_get_stack"));
        assert!(!btf.has_constant("bpf_func_id", "BPF_FUNC_no_such_helper"));
    }

    #[test]
    fn damaged_btf_is_an_error_and_never_a_panic() {
        assert_eq!(Btf::parse(vec![]).err(), Some(BtfError::Magic));
        assert_eq!(Btf::parse(vec![0; 64]).err(), Some(BtfError::Magic));
        let Ok(data) = std::fs::read("/sys/kernel/btf/vmlinux") else {
            return;
        };
        let cut = Btf::parse(data[..data.len() / 2].to_vec());
        assert!(matches!(cut.err(), Some(BtfError::Damaged(_))));
    }
}
