// The tests of this project reach the host over SSH, and the guest through the connection that the host has.
process.env["VIRTIO9P_VIA"] = "both";
