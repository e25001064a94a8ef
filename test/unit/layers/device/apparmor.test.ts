import { apparmorRefusals, apparmorWarnings } from "../../../../provider/layers/device/apparmor";

const share = (source: string, readOnly = false) => ({ source, readOnly });

// Each was started on a host with AppArmor: docs/apparmor.md.
test.each([
  ["/srv/a[b]", "for the [ in it"],
  ["/srv/a[b", "for the [ in it"],
  ["/srv/a]b", "for the ] in it"],
  ["/srv/a{b", "for the { in it"],
  ["/srv/a}b", "for the } in it"],
  ["/srv/a{b,c}", "for the { in it"],
  ["/srv/a\\nb", "for the \\ in it"],
  ['/srv/a"b', 'for the " in it'],
  ["/library/a", "begins with /lib:"],
  ["/usr/libfoo/a", "begins with /usr/lib:"],
  ["/usr/share/a", "begins with /usr/share/:"],
  ["/usr/local/lib/a", "begins with /usr/local/lib:"],
  ["/initrd-images", "begins with /initrd:"],
])("%s is refused where AppArmor confines QEMU", (source, why) => {
  const [refusal] = apparmorRefusals(share(source), true);
  expect(refusal?.code).toBe("appArmorForbids");
  expect(refusal?.what).toContain(why);
  expect(apparmorRefusals(share(source), false)).toEqual([]);
});

test.each(["/srv/a b", "/srv/it's", "/srv/ä", "/srv/a^b", "/srv/a@b", "/srv/a,b#c", "/usr/local/share/a"])(
  "%s is not",
  (source) => {
    expect(apparmorRefusals(share(source), true)).toEqual([]);
    expect(apparmorWarnings(share(source), true)).toEqual([]);
  },
);

test("what may be read alone", () => {
  expect(apparmorRefusals(share("/initrd-images", true), true)).toEqual([]);
});

test.each(["/srv/a*b", "/srv/a?b"])("%s lets QEMU use more than that: a warning", (source) => {
  expect(apparmorRefusals(share(source), true)).toEqual([]);
  expect(apparmorWarnings(share(source), true)).toEqual([
    `to AppArmor ${source} is a pattern: the domain's QEMU may use every directory that it matches`,
  ]);
  expect(apparmorWarnings(share(source), false)).toEqual([]);
});
