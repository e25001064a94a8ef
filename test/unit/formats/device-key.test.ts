import { keyOfDevice } from "../../../provider/formats/device-key";
import { parseXml } from "../../../provider/formats/xml-element";

test.each([
  ["disk vda", "<disk type='file'><source file='/x' index='1'/><target dev='vda' bus='virtio'/></disk>"],
  ["interface 52:54:00:ab:3c:58", "<interface type='user'><mac address='52:54:00:AB:3c:58'/></interface>"],
  ["controller scsi 0", "<controller type='scsi' index='0' model='virtio-scsi'/>"],
  ["filesystem 9p foobar", "<filesystem type='mount'><source dir='/x'/><target dir='foobar'/></filesystem>"],
  ["filesystem 9p foobar", "<filesystem><driver type='path'/><target dir='foobar'/></filesystem>"],
  [
    "filesystem virtiofs v",
    "<filesystem type='mount'><driver type='virtiofs'/><target dir='v'/></filesystem>",
  ],
  ["filesystem template /", "<filesystem type='template'><source name='t'/><target dir='/'/></filesystem>"],
  [
    "hostdev pci 0000:03:00.1",
    "<hostdev type='pci'><source><address domain='0x0000' bus='0x03' slot='0x00' function='0x1'/></source></hostdev>",
  ],
  [
    "hostdev usb 0x046d:0xc52b",
    "<hostdev type='usb'><source><vendor id='0x046d'/><product id='0xc52b'/><address bus='1' device='4'/></source></hostdev>",
  ],
  ["hostdev usb 1 4", "<hostdev type='usb'><source><address bus='1' device='4'/></source></hostdev>"],
  ["hostdev mdev c217-88", "<hostdev type='mdev'><source><address uuid='c217-88'/></source></hostdev>"],
  [
    "hostdev storage /dev/sdf",
    "<hostdev type='storage'><source> <block>/dev/sdf</block> </source></hostdev>",
  ],
  [
    "channel org.foo.0",
    "<channel type='unix'><target type='virtio' name='org.foo.0' state='connected'/></channel>",
  ],
  ["console pty virtio", "<console type='pty' tty='/dev/pts/1'><target type='virtio' port='1'/></console>"],
  ["serial pty isa-serial", "<serial type='pty'><target type='isa-serial' port='0'/></serial>"],
  ["input tablet usb", "<input type='tablet' bus='usb'/>"],
  ["input evdev /dev/input/event1", "<input type='evdev'><source dev='/dev/input/event1'/></input>"],
  [
    "memory dimm 524288 0",
    "<memory model='dimm'><target><size unit='KiB'>524288</size><node>0</node></target></memory>",
  ],
  ["lease area key", "<lease><lockspace>area</lockspace><key>key</key></lease>"],
  ["shmem ivshm", "<shmem name='ivshm'/>"],
  ["graphics vnc", "<graphics type='vnc' port='5900'/>"],
  ["video virtio", "<video><model type='virtio' heads='1'/></video>"],
  ["redirdev spicevmc usb", "<redirdev bus='usb' type='spicevmc'/>"],
  ["vsock virtio", "<vsock model='virtio'><cid auto='yes' address='3'/></vsock>"],
  ["sound ich9", "<sound model='ich9'/>"],
  ["hub usb", "<hub type='usb'/>"],
  ["novelty", "<novelty/>"],
])("%s", (key, xml) => {
  expect(keyOfDevice(parseXml(xml))).toBe(key);
});
