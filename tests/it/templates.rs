//! Templates from a definition to a node: what create knows, what the operator says and what the node is.

use crate::lab;
use crate::workplace::{Workplace, words};

const DEFINITION: &str = r#"apiVersion: coracle/v1alpha1
kind: Package
metadata: { name: real, version: 1.0.0 }
platforms: [linux/amd64, linux/arm64]
parameters: { release: v1.34.4, suffix: { amd64: x64, arm64: aarch }, unused: "1" }
variables: { address: { required: true, example: 192.0.2.1 } }
components:
  - name: all
    files:
      - path: /etc/real.conf
        template: true
        content: "${{ release }} ${{ suffix }} ${{ node.arch }} ${{ address }} $${{ kept }} {release}\n"
"#;

#[test]
fn a_template_knows_parameters_variables_and_the_node() {
    let workplace = Workplace::new(&[], &[]);
    workplace.write("coracle.yaml", DEFINITION);
    let placed = |root: &str, create: &[&str]| {
        workplace.created(create);
        let deploy = ["deploy", "real.tar.zst", "--key", "release.pub", "--yes", "--set", "address=192.0.2.7", "--root", root];
        lab::output(workplace.coracle().args(deploy));
        let again = workplace.coracle().args(&deploy[..5]).args(&deploy[7..]).output().unwrap();
        assert!(again.status.success() && words(&again).contains("nothing to do"), "{}", words(&again));
        std::fs::read_to_string(workplace.path(root).join("etc/real.conf")).unwrap()
    };
    let (arch, suffix) = if cfg!(target_arch = "aarch64") { ("arm64", "aarch") } else { ("amd64", "x64") };
    assert_eq!(placed("node", &[]), format!("v1.34.4 {suffix} {arch} 192.0.2.7 ${{{{ kept }}}} {{release}}\n"));
    // An upgrade that changes a parameter alone changes the file.
    assert_eq!(
        placed("other", &["--param", "release=v1.35.0"]),
        format!("v1.35.0 {suffix} {arch} 192.0.2.7 ${{{{ kept }}}} {{release}}\n")
    );
    let upgraded = placed("node", &["--param", "release=v1.35.0"]);
    assert!(upgraded.starts_with("v1.35.0 "), "{upgraded}");
}
