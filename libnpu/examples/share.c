// SPDX-License-Identifier: MIT
/* A dma-buf shared with another process: the device writes here, the child's device reads there. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <npu/npu.h>

static void send_fd(int sock, int fd)
{
	union { char space[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } u = { { 0 } };
	struct iovec byte = { (char[]){ 'x' }, 1 };
	struct msghdr m = { .msg_iov = &byte, .msg_iovlen = 1, .msg_control = &u, .msg_controllen = sizeof(u) };

	u.align = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
	memcpy(CMSG_DATA(&u.align), &fd, sizeof(fd));
	sendmsg(sock, &m, 0);
}

static int receive_fd(int sock)
{
	union { char space[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } u;
	struct iovec byte = { (char[]){ 0 }, 1 };
	struct msghdr m = { .msg_iov = &byte, .msg_iovlen = 1, .msg_control = &u, .msg_controllen = sizeof(u) };
	int fd = -1;

	return recvmsg(sock, &m, 0) == 1 && m.msg_controllen ? *(int *)memcpy(&fd, CMSG_DATA(&u.align), sizeof(fd)) : -1;
}

/* Both sides open the device for themselves: objects do not survive fork(). */
static int peer(int sock, bool child)
{
	struct npu_device *dev = NULL;
	struct npu_vm *vm = NULL;
	struct npu_buffer *buf = NULL;
	int fd = -1, err = npu_device_open(NULL, NULL, &dev);
	char byte;

	if (!err) err = npu_vm_create(dev, &vm);
	if (!err && child) {
		fd = receive_fd(sock);
		err = npu_buffer_import(vm, fd, 0, &buf);
		if (!err) {
			printf("the child reads: %s\n", (char *)npu_buffer_map(buf));
			strcpy(npu_buffer_map(buf), "answer");
			err = write(sock, "x", 1) != 1;
		}
	} else if (!err) {
		err = npu_buffer_create(vm, 8192, NPU_BUFFER_SHARED, &buf);
		if (!err) err = npu_buffer_export(buf, &fd);
		if (!err) {
			strcpy(npu_buffer_map(buf), "hello");
			send_fd(sock, fd);
			err = read(sock, &byte, 1) != 1 || strcmp(npu_buffer_map(buf), "answer");
			printf("the parent reads: %s\n", (char *)npu_buffer_map(buf));
		}
	}
	close(fd);
	npu_buffer_unref(buf);
	npu_vm_unref(vm);
	npu_device_close(dev);
	return err != 0;
}

int main(void)
{
	int sock[2], status = 1;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sock) || (pid = fork()) < 0)
		return 1;
	if (!pid)
		return close(sock[0]), peer(sock[1], true);
	close(sock[1]);
	return peer(sock[0], false) | (waitpid(pid, &status, 0) != pid) | (status != 0);
}
