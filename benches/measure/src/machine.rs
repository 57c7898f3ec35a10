//! On what something was measured.

use serde::Serialize;
use std::fmt;
use std::fs;

/// The machine of a report: figures without it say nothing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Machine {
    /// As the processor names itself.
    pub processor: String,
    /// How many this process may use.
    pub processors: usize,
    /// `x86_64`, `aarch64`.
    pub architecture: &'static str,
    /// The kernel's name and release.
    pub kernel: String,
    /// Whether the processor says that a hypervisor stands below it.
    pub is_virtual: bool,
    /// What slows a processor down or speeds it up, if the kernel says it.
    pub governor: Option<String>,
}

impl Machine {
    /// This one.
    pub fn this() -> Machine {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| {
            let line = cpuinfo.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let kernel = nix::sys::utsname::uname().map_or_else(
            |_| "unknown".to_owned(),
            |name| format!("{} {}", name.sysname().to_string_lossy(), name.release().to_string_lossy()),
        );
        Machine {
            processor: field("model name")
                .or_else(|| Some(format!("{} part {}", field("CPU implementer")?, field("CPU part")?)))
                .unwrap_or_else(|| "unknown".to_owned()),
            processors: crate::processors().len(),
            architecture: std::env::consts::ARCH,
            kernel,
            is_virtual: field("flags").is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
            governor: fs::read_to_string("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
                .ok()
                .map(|governor| governor.trim().to_owned()),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_virtual { "virtual processors" } else { "processors" };
        write!(f, "{} {kind} ({}, {}), {}", self.processors, self.processor, self.architecture, self.kernel)?;
        match &self.governor {
            Some(governor) => write!(f, ", governor {governor}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_kernel_and_a_processor() {
        let machine = Machine::this();
        assert!(machine.processors > 0);
        assert!(machine.to_string().contains("Linux"), "{machine}");
    }
}
