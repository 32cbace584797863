# Machines of the localk8s cluster demo, provider libvirt. Made by localk8s; changes here are overwritten.
# Brings bare machines up and nothing more: localk8s makes the cluster of them over ssh.
Vagrant.configure('2') do |config|
  config.vm.box = 'localk8s-0123'
  config.vm.box_check_update = false
  config.vm.boot_timeout = 900
  config.vm.graceful_halt_timeout = 180
  config.vm.synced_folder '.', '/vagrant', disabled: true
  config.ssh.insert_key = true
  config.ssh.forward_agent = false
  config.vbguest.auto_update = false if Vagrant.has_plugin?('vagrant-vbguest')

  config.vm.define 'demo' do |machine|
    machine.vm.network 'private_network',
      ip: '192.168.56.10', netmask: '255.255.255.0',
      libvirt__network_name: 'lk8v-abcdef',
      libvirt__mac: '52:54:ab:cd:ef:01',
      libvirt__dhcp_enabled: false,
      libvirt__forward_mode: 'none',
      auto_config: false
    machine.ssh.host = '192.168.56.10'
    machine.vm.provider 'libvirt' do |libvirt|
      libvirt.driver = 'qemu'
      libvirt.default_prefix = 'lk8v-abcdef-'
      libvirt.memory = 2048
      libvirt.cpus = 2
      libvirt.machine_virtual_size = 20
      libvirt.graphics_type = 'none'
      libvirt.cpu_mode = 'custom'
      libvirt.cpu_model = 'Westmere'
      # One card with an address of its own; the guest agent tells Vagrant when it has it.
      libvirt.mgmt_attach = false
      libvirt.qemu_use_agent = true
      libvirt.disk_driver cache: 'unsafe'
      libvirt.kernel = '/b/vmlinuz'
      libvirt.initrd = '/b/initrd'
      libvirt.cmd_line = 'root=/dev/vda rw console=ttyS0 net.ifnames=0 mitigations=off systemd.show_status=0 quiet tsc=reliable localk8s.address=192.168.56.10/24 localk8s.hostname=demo'
    end
  end

  config.vm.define 'demo-2' do |machine|
    machine.vm.network 'private_network',
      ip: '192.168.56.11', netmask: '255.255.255.0',
      libvirt__network_name: 'lk8v-abcdef',
      libvirt__mac: '52:54:ab:cd:ef:02',
      libvirt__dhcp_enabled: false,
      libvirt__forward_mode: 'none',
      auto_config: false
    machine.ssh.host = '192.168.56.11'
    machine.vm.provider 'libvirt' do |libvirt|
      libvirt.driver = 'qemu'
      libvirt.default_prefix = 'lk8v-abcdef-'
      libvirt.memory = 2048
      libvirt.cpus = 2
      libvirt.machine_virtual_size = 20
      libvirt.graphics_type = 'none'
      libvirt.cpu_mode = 'custom'
      libvirt.cpu_model = 'Westmere'
      # One card with an address of its own; the guest agent tells Vagrant when it has it.
      libvirt.mgmt_attach = false
      libvirt.qemu_use_agent = true
      libvirt.disk_driver cache: 'unsafe'
      libvirt.kernel = '/b/vmlinuz'
      libvirt.initrd = '/b/initrd'
      libvirt.cmd_line = 'root=/dev/vda rw console=ttyS0 net.ifnames=0 mitigations=off systemd.show_status=0 quiet tsc=reliable localk8s.address=192.168.56.11/24 localk8s.hostname=demo-2'
    end
  end

  config.vm.define 'demo-3' do |machine|
    machine.vm.network 'private_network',
      ip: '192.168.56.12', netmask: '255.255.255.0',
      libvirt__network_name: 'lk8v-abcdef',
      libvirt__mac: '52:54:ab:cd:ef:03',
      libvirt__dhcp_enabled: false,
      libvirt__forward_mode: 'none',
      auto_config: false
    machine.ssh.host = '192.168.56.12'
    machine.vm.provider 'libvirt' do |libvirt|
      libvirt.driver = 'qemu'
      libvirt.default_prefix = 'lk8v-abcdef-'
      libvirt.memory = 2048
      libvirt.cpus = 2
      libvirt.machine_virtual_size = 20
      libvirt.graphics_type = 'none'
      libvirt.cpu_mode = 'custom'
      libvirt.cpu_model = 'Westmere'
      # One card with an address of its own; the guest agent tells Vagrant when it has it.
      libvirt.mgmt_attach = false
      libvirt.qemu_use_agent = true
      libvirt.disk_driver cache: 'unsafe'
      libvirt.kernel = '/b/vmlinuz'
      libvirt.initrd = '/b/initrd'
      libvirt.cmd_line = 'root=/dev/vda rw console=ttyS0 net.ifnames=0 mitigations=off systemd.show_status=0 quiet tsc=reliable localk8s.address=192.168.56.12/24 localk8s.hostname=demo-3'
    end
  end
end
