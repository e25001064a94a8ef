// The tests of this project reach the guest over SSH.
process.env["VIRTIO9P_VIA"] = "guest";
