//! Commands that mend a lack, as far as they differ between distributions.

/// Installs the newest kernel that the distribution packages.
pub fn newer_kernel(distribution: &[String]) -> &'static str {
    let is = |name: &str| distribution.iter().any(|own| own == name);
    let arm = cfg!(target_arch = "aarch64");
    // Ubuntu is "like debian", so it is asked first.
    if is("ubuntu") {
        "sudo apt install -y linux-generic-hwe-$(lsb_release -rs) && sudo reboot"
    } else if is("debian") && arm {
        "sudo apt install -y -t $(lsb_release -cs)-backports linux-image-arm64 && sudo reboot"
    } else if is("debian") {
        "sudo apt install -y -t $(lsb_release -cs)-backports linux-image-amd64 && sudo reboot"
    } else if is("fedora") || is("rhel") {
        "sudo dnf upgrade -y kernel && sudo reboot"
    } else if is("arch") {
        "sudo pacman -Syu linux && sudo reboot"
    } else if is("suse") || is("opensuse") {
        "sudo zypper update kernel-default && sudo reboot"
    } else if is("alpine") {
        "apk add --upgrade linux-lts && reboot"
    } else {
        "uname -r   # then install a newer kernel the way this system does, and reboot"
    }
}

/// Adds a word to the kernel's command line.
pub fn boot_parameter(distribution: &[String], parameter: &str) -> String {
    let fedora = distribution
        .iter()
        .any(|own| own == "fedora" || own == "rhel");
    if fedora {
        format!("sudo grubby --update-kernel=ALL --args={parameter} && sudo reboot")
    } else {
        format!(
            "sudo sed -i 's/^GRUB_CMDLINE_LINUX=\"/&{parameter} /' /etc/default/grub && \
             sudo update-grub && sudo reboot"
        )
    }
}

/// Sets a kernel setting until the next boot.
pub fn sysctl(setting: &str) -> String {
    format!("sudo sysctl -w {setting}")
}
