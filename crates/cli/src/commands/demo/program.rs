//! The smallest program that says something, for the two CPUs of the demonstration: a static
//! ELF file of one segment that writes a text and exits.

/// Where the segment lies in memory; the usual place of a static program.
const BASE: u64 = 0x40_0000;
/// The ELF header and one program header.
const HEADERS: u64 = 64 + 56;

/// A CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cpu {
    /// `linux/amd64`
    Amd64,
    /// `linux/arm64`
    Arm64,
}

impl Cpu {
    /// In Go's words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// `e_machine` of the ELF header.
    fn machine(self) -> u16 {
        match self {
            Self::Amd64 => 62,
            Self::Arm64 => 183,
        }
    }

    /// write(1, text, length); exit(0). The text follows the code.
    fn code(self, length: u16) -> Vec<u8> {
        let length = length.to_le_bytes();
        match self {
            Self::Amd64 => {
                let mut code = vec![0xb8, 1, 0, 0, 0]; // mov eax, 1 (write)
                code.extend([0xbf, 1, 0, 0, 0]); // mov edi, 1
                code.extend([0x48, 0x8d, 0x35, 16, 0, 0, 0]); // lea rsi, [rip + 16]
                code.extend([0xba, length[0], length[1], 0, 0]); // mov edx, length
                code.extend([0x0f, 0x05]); // syscall
                code.extend([0xb8, 60, 0, 0, 0]); // mov eax, 60 (exit)
                code.extend([0x31, 0xff, 0x0f, 0x05]); // xor edi, edi; syscall
                code
            }
            Self::Arm64 => {
                let move_wide = |register: u32, value: u16| {
                    0xd280_0000 | u32::from(value) << 5 | register // movz
                };
                let text = 0x1000_0000 | 7 << 5 | 1; // adr x1, 7 instructions on
                let call = 0xd400_0001; // svc 0
                [
                    move_wide(0, 1),
                    text,
                    move_wide(2, u16::from_le_bytes(length)),
                    move_wide(8, 64), // write
                    call,
                    move_wide(0, 0),
                    move_wide(8, 93), // exit
                    call,
                ]
                .iter()
                .flat_map(|instruction: &u32| instruction.to_le_bytes())
                .collect()
            }
        }
    }
}

/// A program that prints `text`, of at most 65,535 bytes, and ends.
pub fn program(cpu: Cpu, text: &str) -> Vec<u8> {
    let code = cpu.code(u16::try_from(text.len()).unwrap_or(u16::MAX));
    let length = HEADERS + (code.len() + text.len()) as u64;
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    for half in [2, cpu.machine()] {
        file.extend(half.to_le_bytes()); // e_type: executable, e_machine
    }
    file.extend(1u32.to_le_bytes()); // e_version
    for word in [BASE + HEADERS, 64, 0] {
        file.extend(word.to_le_bytes()); // e_entry, e_phoff, e_shoff
    }
    file.extend(0u32.to_le_bytes()); // e_flags
    for half in [64u16, 56, 1, 0, 0, 0] {
        file.extend(half.to_le_bytes()); // sizes and counts of the headers
    }
    for word in [1u32, 5] {
        file.extend(word.to_le_bytes()); // p_type: load, p_flags: read and execute
    }
    for word in [0, BASE, BASE, length, length, 0x1000] {
        file.extend(word.to_le_bytes()); // p_offset to p_align
    }
    file.extend(code);
    file.extend(text.as_bytes());
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_lies_where_the_code_looks_for_it() {
        // rip after lea is 17 bytes into the code, and 16 more follow it.
        assert_eq!(Cpu::Amd64.code(5).len(), 17 + 16);
        // adr stands in the second of eight instructions.
        assert_eq!(Cpu::Arm64.code(5).len(), 4 + 7 * 4);
        assert_eq!(program(Cpu::Amd64, "hello").len(), 120 + 33 + 5);
    }

    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    #[test]
    #[expect(clippy::disallowed_methods, reason = "the program is there to be run")]
    fn this_machine_runs_it() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("hello");
        std::fs::write(&file, program(Cpu::Amd64, "hello\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        let run = std::process::Command::new(&file).output().unwrap();
        assert_eq!((run.status.code(), run.stdout.as_slice()), (Some(0), &b"hello\n"[..]));
    }
}
